"""What a session's document holds of its hours: their totals, worked out again from what is stored, never added to.

Hours do not stay: MongoDB deletes a measurement after 90 days, and a session may go on for longer. So hours that have
become old are *settled*: their sum is kept in the document itself, and they are not asked for any more. Two rules, with
the same number of days, together never lose an hour and never count one twice:

    an hour older than 30 days, when the totals are worked out, is settled
    where the newest hour of what was kept is older than that, all of it is settled

By the first, an hour was younger than 30 days when it was last left unsettled; by the second, less than 30 days have
passed since. So what is not settled is younger than 60 days, and still stored. What is settled changes no more: events
come late by hours, and windows that were held up are stored within days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from streamproc.core.details import Detail
from streamproc.core.fold import Aggregate
from streamproc.core.rows import Document, date, epoch_ms, sums_of

SETTLED_AFTER_MS: Final = 30 * 86_400_000

_HISTOGRAM: Final = "latency_histogram"


class LastError(NamedTuple):
    """The error of the newest segment that had one. Of two the larger is the last."""

    at_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What hours come to.

    Attributes:
        aggregate: of their segments, without latencies.
        windows: how many there are.
        last_hour_ms: start of the newest; -1 where there is none.
    """

    aggregate: Aggregate = field(default_factory=Aggregate)
    windows: int = 0
    last_hour_ms: int = -1

    @classmethod
    def of(cls, hours: Sequence[Document]) -> Totals:
        """Of measurements, one for each window."""
        if not hours:
            return cls()
        return cls(sums_of(hours), len(hours), max(epoch_ms(hour["timestamp"]) for hour in hours))

    def plus(self, other: Totals) -> Totals:
        """Of the hours of both, of which none is in the other."""
        return Totals(
            self.aggregate.merge(other.aggregate),
            self.windows + other.windows,
            max(self.last_hour_ms, other.last_hour_ms),
        )

    def document(self) -> dict[str, Any]:
        """As it is stored: docs/formats.md."""
        fields = self.aggregate.to_document()
        del fields[_HISTOGRAM]
        return {"windows": self.windows, "last_hour": date(self.last_hour_ms) if self.windows else None, **fields}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Totals:
        """Undo `document`. Raises KeyError, TypeError where it is something else."""
        if not document["windows"]:
            return cls()
        aggregate = Aggregate.from_document({**document, _HISTOGRAM: {}})
        return cls(aggregate, int(document["windows"]), _ms(document["last_hour"]))


@dataclass(frozen=True, slots=True)
class SessionMetrics:
    """What a session's document holds of its hours.

    Attributes:
        totals: of all its hours, settled or not.
        settled: of those that are not asked for any more.
        last_error: as far as one is known.
        version: grows with each update. Whoever worked the totals out from another one must not write them.
    """

    totals: Totals = field(default_factory=Totals)
    settled: Totals = field(default_factory=Totals)
    last_error: LastError | None = None
    version: int = 0

    def document(self) -> dict[str, Any]:
        """As it is stored: docs/formats.md."""
        error = self.last_error
        return {
            **self.totals.document(),
            "last_error": None if error is None else {"at": date(error.at_ms), "text": error.text},
            **({"settled": self.settled.document()} if self.settled.windows else {}),
            "version": self.version,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> SessionMetrics:
        """Undo `document`. Raises KeyError, TypeError, AttributeError where it is something else."""
        error, settled = document["last_error"], document.get("settled")
        return cls(
            totals=Totals.from_document(document),
            settled=Totals() if settled is None else Totals.from_document(settled),
            last_error=None if error is None else LastError(_ms(error["at"]), str(error["text"])),
            version=int(document["version"]),
        )


def work_out(
    kept: SessionMetrics | None, hours: Sequence[Document], error: LastError | None, now_ms: int
) -> SessionMetrics | None:
    """What a session's document is to hold now. `kept` itself where nothing is new, None where there is nothing to say.

    Args:
        kept: what it holds, read before the hours were.
        hours: the session's measurements that are stored, one for each window; settled ones may be among them.
        error: the last error that was heard of since.
        now_ms: by Redis' time.
    """
    before = kept or SessionMetrics()
    recent_ms = now_ms - SETTLED_AFTER_MS
    base = before.settled if before.totals.last_hour_ms >= recent_ms else before.totals
    unsettled = [hour for hour in hours if epoch_ms(hour["timestamp"]) > base.last_hour_ms]
    if kept is None and not unsettled:
        return None
    old = [hour for hour in unsettled if epoch_ms(hour["timestamp"]) < recent_ms]
    recent = [hour for hour in unsettled if epoch_ms(hour["timestamp"]) >= recent_ms]
    settled = base.plus(Totals.of(old))
    new = SessionMetrics(
        totals=settled.plus(Totals.of(recent)),
        settled=settled,
        last_error=max((one for one in (before.last_error, error) if one is not None), default=None),
        version=before.version,
    )
    return kept if new == kept else replace(new, version=max(before.version + 1, now_ms))


def last_error_of(segments: Iterable[Detail]) -> LastError | None:
    """The last error of a window's segments."""
    errors = (LastError(one.received_at_us // 1000, one.error) for one in segments if one.error)
    return max(errors, default=None)


def _ms(moment: datetime) -> int:
    """A date without a zone is UTC, as MongoDB's drivers return it."""
    return epoch_ms(moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment)
