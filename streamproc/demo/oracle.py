"""The published truth: what MongoDB must hold, worked out without the product.

This file imports nothing but the standard library, on purpose. Windows are found with datetime, sums are integers of
microseconds, rounded from exact fractions, and a segment counts once because its id is in a set. Where the product and
this file disagree, one of them is wrong, and not both in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final, NamedTuple

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    """What a published entry is."""

    GOOD = "good"
    DUPLICATE = "duplicate"
    LATE = "late"
    TOO_LATE = "too_late"
    FUTURE = "future"
    MALFORMED = "malformed"


_COUNTED: Final = frozenset((Kind.GOOD, Kind.DUPLICATE, Kind.LATE))


class Window(NamedTuple):
    start: datetime
    channel_id: str
    session_id: str
    user_id: str

    def __str__(self) -> str:
        return (
            f"{self.start:%Y-%m-%dT%H:%M:%SZ} channel {self.channel_id} session {self.session_id} user {self.user_id}"
        )


class Difference(NamedTuple):
    """Published and stored do not agree. Field `measurements` is how many a window has: it must be one."""

    window: Window
    field: str
    expected: object
    found: object

    def __str__(self) -> str:
        return f"{self.window}: {self.field} should be {self.expected}, MongoDB holds {self.found}"


@dataclass(slots=True)
class Truth:
    """What one window must come to."""

    segment_ids: set[str] = field(default_factory=set)
    extraction_us: int = 0
    dubbing_us: int = 0
    reinsertion_us: int = 0
    totals_us: list[int] = field(default_factory=list)
    original_bytes: int = 0
    dubbed_bytes: int = 0
    errors: int = 0
    retries: int = 0
    source_languages: Counter[str] = field(default_factory=Counter)
    target_languages: Counter[str] = field(default_factory=Counter)

    def add(self, event: Mapping[str, Any]) -> None:
        if event["segment_id"] in self.segment_ids:
            return
        self.segment_ids.add(event["segment_id"])
        parts_us = [_whole_us(event[name]) for name in ("extraction_ms", "dubbing_ms", "reinsertion_ms")]
        self.extraction_us += parts_us[0]
        self.dubbing_us += parts_us[1]
        self.reinsertion_us += parts_us[2]
        self.totals_us.append(_whole_us(event["total_ms"]) if event.get("total_ms") is not None else sum(parts_us))
        self.original_bytes += event.get("original_bytes", 0)
        self.dubbed_bytes += event.get("dubbed_bytes", 0)
        self.errors += 1 if event.get("error") else 0
        self.retries += event.get("retry_count", 0)
        self.source_languages[event["source_language"]] += 1
        self.target_languages[event["target_language"]] += 1

    def fields(self) -> dict[str, object]:
        """The fields of a measurement that are compared, by their stored names."""
        return {
            "segments_processed": len(self.segment_ids),
            "total_processing_time_ms": sum(self.totals_us) / 1000,
            "sum_extraction_ms": self.extraction_us / 1000,
            "sum_dubbing_ms": self.dubbing_us / 1000,
            "sum_reinsertion_ms": self.reinsertion_us / 1000,
            "min_total_ms": min(self.totals_us) / 1000,
            "max_total_ms": max(self.totals_us) / 1000,
            "total_original_bytes": self.original_bytes,
            "total_dubbed_bytes": self.dubbed_bytes,
            "error_count": self.errors,
            "retry_count": self.retries,
            "source_languages": dict(self.source_languages),
            "target_languages": dict(self.target_languages),
        }


class Oracle:
    """Collects what was published, and compares it with what is stored.

    Args:
        window_seconds: the length of a window.
    """

    def __init__(self, window_seconds: float) -> None:
        self._length = timedelta(seconds=window_seconds)
        self._windows: dict[Window, Truth] = {}
        self.published: Counter[Kind] = Counter()

    @property
    def windows(self) -> int:
        return len(self._windows)

    @property
    def segments(self) -> int:
        """How many segments must be counted, each once."""
        return sum(len(truth.segment_ids) for truth in self._windows.values())

    @property
    def errors(self) -> int:
        """How many of them carry an error."""
        return sum(truth.errors for truth in self._windows.values())

    def record(self, kind: Kind, event: Mapping[str, Any]) -> None:
        """An entry was published and confirmed. `received_at` is a datetime with an offset."""
        self.published[kind] += 1
        if kind in _COUNTED:
            window = Window(
                _EPOCH + (event["received_at"] - _EPOCH) // self._length * self._length,
                event["channel_id"],
                event["session_id"],
                event["user_id"],
            )
            self._windows.setdefault(window, Truth()).add(event)

    def compare(self, documents: Iterable[Mapping[str, Any]]) -> list[Difference]:
        """Every way in which MongoDB's documents differ from the truth; empty means exact.

        A window with several measurements is one difference, and its newest (`revision`, `write`) is what its fields
        are compared by.
        """
        stored: dict[Window, list[Mapping[str, Any]]] = {}
        for document in documents:
            stored.setdefault(_window_of(document), []).append(document)
        differences = []
        for window in sorted(self._windows.keys() | stored.keys()):
            differences += self._compare_window(window, stored.get(window, []))
        return differences

    def _compare_window(self, window: Window, documents: list[Mapping[str, Any]]) -> list[Difference]:
        truth = self._windows.get(window)
        expected = 0 if truth is None else 1
        differences = []
        if len(documents) != expected:
            differences.append(Difference(window, "measurements", expected, len(documents)))
        if truth is not None and documents:
            newest = max(documents, key=lambda document: _rank(document["metadata"]))
            differences += [
                Difference(window, name, value, newest.get(name))
                for name, value in truth.fields().items()
                if newest.get(name) != value
            ]
        return differences


def _window_of(document: Mapping[str, Any]) -> Window:
    metadata = document["metadata"]
    hour: datetime = metadata["hour"]
    start = hour if hour.tzinfo else hour.replace(tzinfo=UTC)
    return Window(start, metadata["channel_id"], metadata["session_id"], metadata["user_id"])


def _rank(metadata: Mapping[str, Any]) -> tuple[int, int]:
    return metadata["revision"], metadata["write"]


def _whole_us(milliseconds: float) -> int:
    """Microseconds, rounded half to even from the exact value of the float."""
    return round(Fraction(milliseconds) * 1000)
