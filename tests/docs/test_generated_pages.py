"""The generated pages say what the code says."""

from __future__ import annotations

import pytest
from generate import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_page_equals_what_the_code_generates(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run `make docs`"
