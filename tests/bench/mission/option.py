"""What the two options have in common: a collection, its indexes, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import IndexModel

Document = dict[str, Any]
Pipeline = list[Document]


@dataclass(frozen=True, slots=True)
class Option:
    """One way to store the segments.

    Attributes:
        stored_in: the collection that holds the bytes, which is what a dump reads.
        of_channel, of_user: select from an id and times, the second excluded.
        sums: figures of what is selected, by ``hour`` or ``day``, or in all.
        by_window: figures of every window, under the same names in both options.
    """

    name: str
    collection: str
    stored_in: str
    indexes: Sequence[IndexModel]
    of_channel: Callable[[str, int, int], Document]
    of_user: Callable[[str, int, int], Document]
    sums: Callable[[Document, str | None], Pipeline]
    by_window: Pipeline


def truncated(time_field: str, unit: str | None) -> Document | None:
    return {"$dateTrunc": {"date": time_field, "unit": unit}} if unit else None
