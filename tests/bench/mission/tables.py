"""A table, for the terminal and for a page; and how figures are written in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import rich.table

from streamproc.core.histogram import nearest_rank

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
_TEN, _HUNDRED = 10, 100


class Table(NamedTuple):
    """`name` is that of the block on the page; `notes` stand below."""

    name: str
    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def on_terminal(self) -> rich.table.Table:
        shown = rich.table.Table(*self.heads, title=self.title, caption=" ".join(self.notes), caption_justify="left")
        for row in self.rows:
            shown.add_row(*row)
        return shown

    def as_markdown(self) -> str:
        lines = ["| " + " | ".join(row) + " |" for row in (self.heads, ["---"] * len(self.heads), *self.rows)]
        return "\n".join((*lines, *(f"\n{note}" for note in self.notes)))


def number(value: float) -> str:
    """Two digits that mean something, and thousands apart."""
    if value >= _HUNDRED or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= _TEN else f"{value:.2g}"


def size(value: float) -> str:
    by, unit = next((by, unit) for by, unit in _UNITS if value >= by or by == 1)
    return f"{number(value / by)} {unit}"


def duration(seconds: float) -> str:
    return f"{number(seconds)} s" if seconds < 2 * 60 else f"{number(seconds / 60)} min"


def times(a: float, b: float) -> str:
    """How many times `b` fits into `a`."""
    return f"{number(a / b)}x" if b else "-"


def dollars(value: float) -> str:
    return f"${value:,.2f}"


def quantile(in_order: Sequence[float], q: float) -> float:
    return in_order[nearest_rank(q, len(in_order)) - 1]
