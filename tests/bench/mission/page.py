"""docs/cost.md: its tables stand between marks, and are written from what was measured last (measured.json)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from .results import Results
from .tables import Table

PAGE: Final = Path(__file__).parents[3] / "docs" / "cost.md"
RECORD: Final = Path(__file__).parent / "measured.json"

_BLOCK: Final = re.compile(r"(<!-- measured: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def blocks(page: str) -> list[str]:
    """The names of the page's blocks, in order."""
    return [name for _, name, _ in _BLOCK.findall(page)]


def prose(page: str) -> str:
    """The page without what stands in its blocks."""
    return _BLOCK.sub("", page)


def filled(page: str, tables: Iterable[Table]) -> str:
    """The page with every table in its block.

    Raises:
        ValueError: a table has no block, or a block no table.
    """
    by_name = {table.name: table.as_markdown() for table in tables}
    if sorted(by_name) != sorted(blocks(page)):
        raise ValueError(f"the page has blocks {sorted(blocks(page))}, the tables are {sorted(by_name)}")
    return _BLOCK.sub(lambda match: f"{match[1]}\n{by_name[match[2]]}\n\n{match[3]}", page)


def record(results: Results) -> None:
    """Keep what was measured."""
    raw = msgspec.json.encode(msgspec.to_builtins(results))
    RECORD.write_bytes(msgspec.json.format(raw, indent=1) + b"\n")


def recorded() -> Results:
    return msgspec.json.decode(RECORD.read_bytes(), type=Results)
