"""The fold: from the segments of a window to the one measurement that is stored of it.

A window is a set, so the fold must not see an order: the same segments give the same document, whoever folds them
and however they came. Everything is a sum, an extreme, a tally or a rank of integers; division comes last, once.

`Aggregate` is the part that can be merged further (hours into days, sessions into channels), so that every mean and
percentile over a longer time comes from sums and counts, never from other means and percentiles.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from streamproc.core.details import Detail
from streamproc.core.histogram import LatencyHistogram, add_counts, nearest_rank
from streamproc.core.windows import WindowKey

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_US_PER_MS = 1000
_DIGEST_CHARACTERS = 32
_COLUMN_SUMS = ("extraction_us", "dubbing_us", "reinsertion_us", "total_us", "original_bytes", "dubbed_bytes")
_SUMS = ("segments", "errors", "retries", *_COLUMN_SUMS)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Exact figures of a number of segments. ``Aggregate()`` is that of none, and changes nothing when merged.

    Durations are whole microseconds; `first_ms` and `last_ms` (event times) are milliseconds since the epoch, which is
    what a BSON date keeps. The four extremes are None if there are no segments.
    """

    segments: int = 0
    errors: int = 0
    retries: int = 0
    extraction_us: int = 0
    dubbing_us: int = 0
    reinsertion_us: int = 0
    total_us: int = 0
    original_bytes: int = 0
    dubbed_bytes: int = 0
    min_total_us: int | None = None
    max_total_us: int | None = None
    first_ms: int | None = None
    last_ms: int | None = None
    source_languages: dict[str, int] = field(default_factory=dict)
    target_languages: dict[str, int] = field(default_factory=dict)
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)

    @classmethod
    def of(cls, details: Iterable[Detail]) -> Aggregate:
        """The aggregate of `details`: columns first, so that every sum runs in C."""
        columns = zip(*map(msgspec.structs.astuple, details), strict=True)
        column = dict(zip(Detail.__struct_fields__, columns, strict=False))
        if not column:  # no details, no columns
            return cls()
        totals = column["total_us"]
        return cls(
            segments=len(totals),
            errors=sum(map(bool, column["error"])),
            retries=sum(column["retry_count"]),
            **{name: sum(column[name]) for name in _COLUMN_SUMS},
            min_total_us=min(totals),
            max_total_us=max(totals),
            first_ms=min(column["received_at_us"]) // _US_PER_MS,
            last_ms=max(column["received_at_us"]) // _US_PER_MS,
            source_languages=dict(Counter(column["source_language"])),
            target_languages=dict(Counter(column["target_language"])),
            latency=LatencyHistogram.of(totals),
        )

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Aggregate:
        """Read back a stored measurement, exactly. A date without a zone is UTC, as MongoDB's drivers return it.

        Multiplying by 1000 and rounding undoes the division by 1000 for every sum below 2**51 us (71 years).

        Raises:
            KeyError: a field of the measurement is missing; read the document without a projection.
        """
        return cls(
            segments=int(document["segments_processed"]),
            errors=int(document["error_count"]),
            retries=int(document["retry_count"]),
            extraction_us=_us(document["sum_extraction_ms"]),
            dubbing_us=_us(document["sum_dubbing_ms"]),
            reinsertion_us=_us(document["sum_reinsertion_ms"]),
            total_us=_us(document["total_processing_time_ms"]),
            original_bytes=int(document["total_original_bytes"]),
            dubbed_bytes=int(document["total_dubbed_bytes"]),
            min_total_us=_us(document["min_total_ms"]),
            max_total_us=_us(document["max_total_ms"]),
            first_ms=_epoch_ms(document["first_segment_at"]),
            last_ms=_epoch_ms(document["last_segment_at"]),
            source_languages=dict(document["source_languages"]),
            target_languages=dict(document["target_languages"]),
            latency=LatencyHistogram.from_document(document["latency_histogram"]),
        )

    def merge(self, other: Aggregate) -> Aggregate:
        """The aggregate of the segments of both. Associative, commutative, exact."""
        return Aggregate(
            **{name: getattr(self, name) + getattr(other, name) for name in _SUMS},
            min_total_us=min(_known(self.min_total_us, other.min_total_us), default=None),
            max_total_us=max(_known(self.max_total_us, other.max_total_us), default=None),
            first_ms=min(_known(self.first_ms, other.first_ms), default=None),
            last_ms=max(_known(self.last_ms, other.last_ms), default=None),
            source_languages=add_counts(self.source_languages, other.source_languages),
            target_languages=add_counts(self.target_languages, other.target_languages),
            latency=self.latency.merge(other.latency),
        )

    @property
    def error_rate(self) -> float:
        """Segments with an error per segment; 0.0 if there are none."""
        return self.errors / self.segments if self.segments else 0.0

    def mean_ms(self, sum_us: int) -> float:
        """`sum_us` per segment in milliseconds, rounded once; 0.0 if there are no segments."""
        return sum_us / (self.segments * _US_PER_MS) if self.segments else 0.0

    def quantile_ms(self, q: float) -> float | None:
        """The `q` quantile of the total time in milliseconds, within 2 %; None if there are no segments."""
        estimate_us = self.latency.quantile_us(q)
        if estimate_us is None or self.min_total_us is None or self.max_total_us is None:
            return None
        return min(max(estimate_us, self.min_total_us), self.max_total_us) / _US_PER_MS

    def to_document(self) -> dict[str, Any]:
        """The fields of a measurement that can be merged, under their stored names; tallies in order of their keys."""
        return {
            "segments_processed": self.segments,
            "avg_extraction_ms": self.mean_ms(self.extraction_us),
            "avg_dubbing_ms": self.mean_ms(self.dubbing_us),
            "avg_reinsertion_ms": self.mean_ms(self.reinsertion_us),
            "avg_total_ms": self.mean_ms(self.total_us),
            "total_processing_time_ms": self.total_us / _US_PER_MS,
            "total_original_bytes": self.original_bytes,
            "total_dubbed_bytes": self.dubbed_bytes,
            "error_count": self.errors,
            "retry_count": self.retries,
            "source_languages": dict(sorted(self.source_languages.items())),
            "target_languages": dict(sorted(self.target_languages.items())),
            "sum_extraction_ms": self.extraction_us / _US_PER_MS,
            "sum_dubbing_ms": self.dubbing_us / _US_PER_MS,
            "sum_reinsertion_ms": self.reinsertion_us / _US_PER_MS,
            "min_total_ms": None if self.min_total_us is None else self.min_total_us / _US_PER_MS,
            "max_total_ms": None if self.max_total_us is None else self.max_total_us / _US_PER_MS,
            "latency_histogram": self.latency.to_document(),
            "first_segment_at": None if self.first_ms is None else _date(self.first_ms),
            "last_segment_at": None if self.last_ms is None else _date(self.last_ms),
        }


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is stored of one window. Percentiles are exact here, since all the segments are at hand."""

    key: WindowKey
    aggregate: Aggregate
    platform: str
    p50_total_us: int
    p95_total_us: int
    p99_total_us: int
    digest: str

    @property
    def revision(self) -> int:
        """The number of segments. A window only grows, so of two measurements the one with more supersedes."""
        return self.aggregate.segments

    def document(self, write: int) -> dict[str, Any]:
        """The MongoDB document. `write`, unique to an insert and growing with time, tells twins of a revision apart."""
        hour = _date(self.key.start_ms)
        return {
            "timestamp": hour,
            "metadata": {
                "channel_id": self.key.channel_id,
                "session_id": self.key.session_id,
                "user_id": self.key.user_id,
                "platform": self.platform,
                "hour": hour,
                "revision": self.revision,
                "write": write,
            },
            **self.aggregate.to_document(),
            "p50_total_ms": self.p50_total_us / _US_PER_MS,
            "p95_total_ms": self.p95_total_us / _US_PER_MS,
            "p99_total_ms": self.p99_total_us / _US_PER_MS,
            "segments_digest": self.digest,
        }


def fold(key: WindowKey, segments: Mapping[str, Detail]) -> Measurement:
    """The measurement of the window `key`, whose segments are `segments` (segment id -> detail), in any order.

    Raises:
        ValueError: `segments` is empty; a window without segments has no measurement.
    """
    if not segments:
        raise ValueError(f"{key} holds no segments: there is nothing to measure, so store nothing")
    totals = sorted(detail.total_us for detail in segments.values())
    return Measurement(
        key=key,
        aggregate=Aggregate.of(segments.values()),
        platform=_earliest(segments).platform,
        p50_total_us=totals[nearest_rank(0.50, len(totals)) - 1],
        p95_total_us=totals[nearest_rank(0.95, len(totals)) - 1],
        p99_total_us=totals[nearest_rank(0.99, len(totals)) - 1],
        digest=digest_of(segments),
    )


def digest_of(segment_ids: Iterable[str]) -> str:
    """Names a set of segments, in no order: two measurements of one key and revision agree if their digests do.

    Ids are printable, so the newline between them occurs in none of them.
    """
    return hashlib.sha256("\n".join(sorted(segment_ids)).encode()).hexdigest()[:_DIGEST_CHARACTERS]


def _earliest(segments: Mapping[str, Detail]) -> Detail:
    times = [detail.received_at_us for detail in segments.values()]
    return segments[min(zip(times, segments, strict=True))[1]]


def _date(epoch_ms: int) -> datetime:
    return _EPOCH + epoch_ms * _MILLISECOND


def _epoch_ms(date: datetime) -> int:
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MILLISECOND


def _us(milliseconds: float) -> int:
    return round(milliseconds * _US_PER_MS)


def _known(*values: int | None) -> list[int]:
    return [value for value in values if value is not None]
