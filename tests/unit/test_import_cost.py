"""A dubbing worker that publishes pays for the publisher alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"faust", "mode", "pymongo", "aiohttp", "prometheus_client", "click", "rich", "pydantic"}


@pytest.mark.parametrize(
    "statement",
    [
        "import streamproc",
        "import streamproc.publisher",
        "from streamproc import SegmentPublisher, BlockingSegmentPublisher, InvalidEvent",
    ],
)
def test_importing_the_publisher_loads_nothing_heavy(statement: str) -> None:
    script = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "streamproc" in loaded
    assert HEAVY.isdisjoint(loaded)
