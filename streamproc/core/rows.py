"""Rows of an answer: what the measurements of any number of windows come to.

A measurement is taken as the document that is stored of it (docs/formats.md), whether it comes from MongoDB or was just
folded from Redis. Dates in documents are without zone here, and UTC: reading zones costs half as much again.

One rule for percentiles: of one window they are exact, as stored; of several they come from the merged histograms,
within 2 %. Everything else is exact: sums are whole microseconds, means are divided once, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

from streamproc.core.fold import Aggregate, Measurement
from streamproc.core.histogram import LatencyHistogram
from streamproc.core.windows import WindowKey

Document = Mapping[str, Any]
State = Literal["final", "rolling", "revised"]

_WORSE: Final[tuple[State, ...]] = ("final", "revised", "rolling")
_EPOCH: Final = datetime(1970, 1, 1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_US_PER_MS: Final = 1000
_PERCENTILES: Final = ("p50_total_ms", "p95_total_ms", "p99_total_ms")
_QUANTILES: Final = (0.50, 0.95, 0.99)
_SUMS: Final = (
    *("segments", "errors", "retries", "extraction_us", "dubbing_us", "reinsertion_us", "total_us"),
    *("original_bytes", "dubbed_bytes"),
)


class Window(NamedTuple):
    """A window of an answer: its measurement, and whether that is what is stored."""

    document: Document
    state: State


@dataclass(frozen=True, slots=True)
class Sum:
    """What windows come to. ``Sum()`` is that of none.

    Attributes:
        percentiles_ms: p50, p95 and p99 of the total time; None where there are no segments.
    """

    aggregate: Aggregate = field(default_factory=Aggregate)
    windows: int = 0
    sessions: frozenset[str] = frozenset()
    state: State = "final"
    percentiles_ms: tuple[float | None, ...] = (None, None, None)

    @classmethod
    def of(cls, windows: Sequence[Window]) -> Sum:
        """The sum of windows, each of which comes once."""
        if not windows:
            return cls()
        documents = [window.document for window in windows]
        aggregate = aggregate_of(documents)
        exact = len(documents) == 1
        return cls(
            aggregate=aggregate,
            windows=len(documents),
            sessions=frozenset(document["metadata"]["session_id"] for document in documents),
            state=_worst(window.state for window in windows),
            percentiles_ms=tuple(documents[0][name] for name in _PERCENTILES) if exact else _percentiles_ms(aggregate),
        )

    @classmethod
    def merged(cls, sums: Iterable[Sum]) -> Sum:
        """The sum of all windows of `sums`, of which no two hold the same one."""
        several = [one for one in sums if one.windows]
        if len(several) <= 1:
            return several[0] if several else cls()
        aggregate = _merged([one.aggregate for one in several])
        return cls(
            aggregate=aggregate,
            windows=sum(one.windows for one in several),
            sessions=frozenset().union(*(one.sessions for one in several)),
            state=_worst(one.state for one in several),
            percentiles_ms=_percentiles_ms(aggregate),
        )


def key_of(document: Document) -> WindowKey:
    """The window that a document is of."""
    metadata = document["metadata"]
    return WindowKey(
        epoch_ms(document["timestamp"]), metadata["channel_id"], metadata["session_id"], metadata["user_id"]
    )


def epoch_ms(date: datetime) -> int:
    """Milliseconds since the epoch of a date as it is in documents here."""
    return (date - _EPOCH) // _MILLISECOND


def naive_date(moment_ms: int) -> datetime:
    """Undo `epoch_ms`."""
    return _EPOCH + moment_ms * _MILLISECOND


def date(moment_ms: int) -> datetime:
    """The date with its zone, UTC."""
    return naive_date(moment_ms).replace(tzinfo=UTC)


def document_of(measurement: Measurement) -> Document:
    """The document that will be stored of a measurement."""
    document = measurement.document(write=0)
    dates = {name: document[name].replace(tzinfo=None) for name in ("timestamp", "first_segment_at", "last_segment_at")}
    return {**document, **dates}


def highest_of_each(documents: Iterable[Document]) -> dict[WindowKey, Document]:
    """One document for each window: of several the highest revision, and of equal ones the highest write."""
    best: dict[WindowKey, Document] = {}
    for document in documents:
        key = key_of(document)
        if key not in best or rank(document) > rank(best[key]):
            best[key] = document
    return best


def rank(document: Document) -> tuple[int, int]:
    """Revision and write."""
    metadata = document["metadata"]
    return metadata["revision"], metadata["write"]


def aggregate_of(documents: Sequence[Document]) -> Aggregate:
    """The aggregate of measurements."""
    counts = _tallied(document["latency_histogram"] for document in documents)
    return replace(sums_of(documents), latency=LatencyHistogram.from_document(counts))


def sums_of(documents: Sequence[Document]) -> Aggregate:
    """As `aggregate_of`, without the latencies; column by column, so that nearly all of it runs in C."""

    def column(name: str) -> Iterable[Any]:
        return map(itemgetter(name), documents)

    def total_us(name: str) -> int:
        # Every stored sum is a whole number of microseconds, but for the rounding of its last bit, and fsum adds none:
        # up to 2**50 us (35 years) in all, the error is below half a microsecond, so rounding finds the number.
        return round(math.fsum(column(name)) * _US_PER_MS)

    return Aggregate(
        segments=sum(column("segments_processed")),
        errors=sum(column("error_count")),
        retries=sum(column("retry_count")),
        extraction_us=total_us("sum_extraction_ms"),
        dubbing_us=total_us("sum_dubbing_ms"),
        reinsertion_us=total_us("sum_reinsertion_ms"),
        total_us=total_us("total_processing_time_ms"),
        original_bytes=sum(column("total_original_bytes")),
        dubbed_bytes=sum(column("total_dubbed_bytes")),
        min_total_us=round(min(column("min_total_ms")) * _US_PER_MS),
        max_total_us=round(max(column("max_total_ms")) * _US_PER_MS),
        first_ms=epoch_ms(min(column("first_segment_at"))),
        last_ms=epoch_ms(max(column("last_segment_at"))),
        source_languages=_tallied(column("source_languages")),
        target_languages=_tallied(column("target_languages")),
    )


def _merged(aggregates: Sequence[Aggregate]) -> Aggregate:
    """As `Aggregate.merge`, of many at once. None of them is empty."""

    def known(name: str) -> Iterable[int]:
        return (value for one in aggregates if (value := getattr(one, name)) is not None)

    return Aggregate(
        **{name: sum(getattr(one, name) for one in aggregates) for name in _SUMS},
        min_total_us=min(known("min_total_us")),
        max_total_us=max(known("max_total_us")),
        first_ms=min(known("first_ms")),
        last_ms=max(known("last_ms")),
        source_languages=_tallied(one.source_languages for one in aggregates),
        target_languages=_tallied(one.target_languages for one in aggregates),
        latency=LatencyHistogram(_tallied(one.latency.counts for one in aggregates)),
    )


def _tallied(tallies: Iterable[Mapping[Any, int]]) -> dict[Any, int]:
    """All tallies in one."""
    total: dict[Any, int] = {}
    get = total.get
    for tally in tallies:
        for name, count in tally.items():
            total[name] = get(name, 0) + count
    return total


def _percentiles_ms(aggregate: Aggregate) -> tuple[float | None, ...]:
    return tuple(map(aggregate.quantile_ms, _QUANTILES))


def _worst(states: Iterable[State]) -> State:
    """`rolling` before `revised` before `final`."""
    return max(states, key=_WORSE.index)
