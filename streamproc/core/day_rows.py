"""The archive's rows: what the measurements of one day come to, for each channel, user and platform.

A window belongs to the UTC day in which it starts, whole. Sums stay exact integers and the histogram stays mergeable,
so that a month or a year over rows is as right as over the measurements they came from; percentiles of many rows come
from merged histograms, within 2 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple, Self

import msgspec

from streamproc.core.fold import Aggregate
from streamproc.core.histogram import LatencyHistogram
from streamproc.core.rows import Document
from streamproc.core.windows import Windowing

_DAY: Final = timedelta(days=1)
_DAY_MS: Final = 86_400_000
_US_PER_MS: Final = 1000
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

#: A measurement's sums, by their names in an `Aggregate`: those that are integers as stored, and those in milliseconds.
COUNTS: Final = {
    "segments": "segments_processed",
    "errors": "error_count",
    "retries": "retry_count",
    "original_bytes": "total_original_bytes",
    "dubbed_bytes": "total_dubbed_bytes",
}
TIMES: Final = {
    "extraction_us": "sum_extraction_ms",
    "dubbing_us": "sum_dubbing_ms",
    "reinsertion_us": "sum_reinsertion_ms",
    "total_us": "total_processing_time_ms",
}
SUMS: Final = (*COUNTS, *TIMES)
_COUNT_FIELDS: Final = tuple(COUNTS.values())
_TIME_FIELDS: Final = tuple(TIMES.values())


class RowKey(NamedTuple):
    """Names a row within its day; rows are kept in this order."""

    channel_id: str
    user_id: str
    platform: str


@dataclass(frozen=True, slots=True)
class DayRow:
    """A day of one user on one channel and platform.

    Attributes:
        windows: how many measurements it comes from.
        sessions: how many sessions those are of.
    """

    key: RowKey
    windows: int
    sessions: int
    aggregate: Aggregate


class Totals(msgspec.Struct, frozen=True):
    """What a day comes to: of rows, of a file, of its source. Equal totals, for each of these ways to find them."""

    windows: int = 0
    segments: int = 0
    errors: int = 0
    retries: int = 0
    original_bytes: int = 0
    dubbed_bytes: int = 0
    extraction_us: int = 0
    dubbing_us: int = 0
    reinsertion_us: int = 0
    total_us: int = 0

    @classmethod
    def of(cls, rows: Iterable[DayRow]) -> Self:
        several = list(rows)
        sums = {name: sum(getattr(row.aggregate, name) for row in several) for name in SUMS}
        return cls(windows=sum(row.windows for row in several), **sums)

    def differences(self, other: Totals) -> list[str]:
        """Where the two differ, for people."""
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in self.__struct_fields__]
        return [f"{name} {ours} and {theirs}" for name, ours, theirs in pairs if ours != theirs]


class DayFold:
    """Folds the measurements of one day into its rows, in any order; each window comes once."""

    def __init__(self) -> None:
        self._rows: dict[RowKey, _Growing] = {}

    def add(self, document: Document) -> None:
        """Add a measurement, as it is stored; its dates with their zone."""
        metadata = document["metadata"]
        key = RowKey(metadata["channel_id"], metadata["user_id"], metadata["platform"])
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = _Growing(document)
        row.add(document)

    def rows(self) -> list[DayRow]:
        """The rows so far, in order of their keys."""
        return [self._rows[key].row(key) for key in sorted(self._rows)]


class _Growing:
    """A row that grows. One object for each row and not one for each measurement: a day has a million and more."""

    __slots__ = ("counts", "first", "last", "latency", "maximum", "minimum", "sessions", "source", "sums", "target")

    def __init__(self, first: Document) -> None:
        self.counts = [0] * (1 + len(_COUNT_FIELDS))
        self.sums = [0] * len(_TIME_FIELDS)
        self.sessions: set[str] = set()
        self.minimum, self.maximum = first["min_total_ms"], first["max_total_ms"]
        self.first, self.last = first["first_segment_at"], first["last_segment_at"]
        self.source: dict[str, int] = {}
        self.target: dict[str, int] = {}
        self.latency: dict[str, int] = {}

    def add(self, document: Document) -> None:
        self.counts[0] += 1
        for position, name in enumerate(_COUNT_FIELDS, 1):
            self.counts[position] += document[name]
        for position, name in enumerate(_TIME_FIELDS):
            # Each is a whole number of microseconds, up to 2**51 (71 years), so rounding finds it.
            self.sums[position] += round(document[name] * _US_PER_MS)
        self.sessions.add(document["metadata"]["session_id"])
        self.minimum = min(self.minimum, document["min_total_ms"])
        self.maximum = max(self.maximum, document["max_total_ms"])
        self.first = min(self.first, document["first_segment_at"])
        self.last = max(self.last, document["last_segment_at"])
        _tally(self.source, document["source_languages"])
        _tally(self.target, document["target_languages"])
        _tally(self.latency, document["latency_histogram"])

    def row(self, key: RowKey) -> DayRow:
        windows, *counts = self.counts
        return DayRow(
            key=key,
            windows=windows,
            sessions=len(self.sessions),
            aggregate=Aggregate(
                **dict(zip(COUNTS, counts, strict=True)),
                **dict(zip(TIMES, self.sums, strict=True)),
                min_total_us=round(self.minimum * _US_PER_MS),
                max_total_us=round(self.maximum * _US_PER_MS),
                first_ms=(self.first - _EPOCH) // _MILLISECOND,
                last_ms=(self.last - _EPOCH) // _MILLISECOND,
                source_languages=dict(self.source),
                target_languages=dict(self.target),
                latency=LatencyHistogram.from_document(self.latency),
            ),
        )


def day_start_ms(day: date) -> int:
    """When a day begins, UTC."""
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH) // _MILLISECOND


def day_end_ms(day: date) -> int:
    """When the next day begins."""
    return day_start_ms(day) + _DAY_MS


def day_at(epoch_ms: int) -> date:
    """The day that a moment falls in, UTC."""
    return (_EPOCH + epoch_ms * _MILLISECOND).date()


def days_between(first: date, last: date) -> list[date]:
    """All days from the first to the last, both included; none where the last is before the first."""
    return [first + number * _DAY for number in range((last - first).days + 1)]


def final_at_ms(day: date, windowing: Windowing) -> int:
    """The low watermark from which nothing that is added can belong to a window of that day any more."""
    return windowing.forgettable_at(windowing.start_of(day_end_ms(day) - 1))


def _tally(total: dict[str, int], more: Any) -> None:
    get = total.get
    for name, count in more.items():
        total[name] = get(name, 0) + count
