"""The benches run, store every window right, and the page on performance has the figures that they print."""

from __future__ import annotations

import re
from typing import Final

import pytest
from bench.command import markdown
from bench.page import PAGE, PARTS, measure, put

#: As small as it may be: whether it works, not how fast.
TINY: Final = {
    "counting": ["--events", "3000", "--sessions", "50", "--runs", "1"],
    "windows": ["--events", "300", "--windows", "300"],
    "meanwhile": ["--windows", "6000"],  # enough for more than one look
    "memory-valkey": ["--windows", "5"],
    "memory-redis": ["--windows", "5"],
    "pods": ["--events", "3000", "--sessions", "50", "--workers", "1", "2", "--shards", "2"],
}


def shown(name: str) -> str:
    """What the page has between the marks of a part."""
    found = re.search(f"<!-- begin {name} -->\n(.*?)\n<!-- end {name} -->", PAGE.read_text(), re.DOTALL)
    assert found, f"{PAGE.name} has no part {name}"
    return found[1]


def labels(table: str) -> list[str]:
    """What is said in a table in Markdown, beside its figures: headings, and the first cell of each line."""
    first, _, *lines = table.splitlines()
    cells = [*first.split("|"), *(line.split("|")[1] for line in lines)]
    return [cell.strip() for cell in cells if not cell.strip().replace(",", "").isdigit()]


@pytest.mark.parametrize("name", PARTS)
async def test_a_bench_stores_every_window_right_and_the_page_has_its_tables(name: str) -> None:
    found = await measure(PARTS[name], *TINY[name])
    assert found.wrong == 0
    tables = re.findall(r"(?:^\|.*\n?)+", shown(name), re.MULTILINE)
    assert [labels(markdown(table)) for table in found.tables] == [labels(table) for table in tables]


def test_figures_go_between_their_marks_alone() -> None:
    page = "a\n<!-- begin x -->\n1\n<!-- end x -->\nb"
    assert put(page, "x", "2\n3") == "a\n<!-- begin x -->\n2\n3\n<!-- end x -->\nb"
    with pytest.raises(ValueError, match="must have"):
        put(page, "y", "2")
