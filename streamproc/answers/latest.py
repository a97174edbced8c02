"""The last hours of all channels together, as far as they are stored.

Of a thousand sessions an hour is a thousand measurements. So each hour is summed once, then remembered, and summed
again when anything was written to it since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from streamproc.answers.memory import KEPT_S, Memory
from streamproc.answers.results import Missing
from streamproc.answers.seam import Seam
from streamproc.core.revisions import write_number
from streamproc.core.rows import Sum, Window, highest_of_each
from streamproc.core.windows import Windowing, WindowKey
from streamproc.stores.mongo import failures as mongo
from streamproc.stores.redis import failures as redis

_HOUR_MS: Final = 3_600_000
_KEPT_HOURS: Final = 400
#: So many hours without anything stored are passed over; the present one always is.
_EMPTY_HOURS: Final = 24
#: A measurement bears the time at which its window was taken, and is inserted so much later, at most.
_FLUSH_MS: Final = 60_000


class Latest(NamedTuple):
    """By start, newest first; and what is missing."""

    sums: Mapping[int, Sum]
    missing: list[Missing]


class _Hour(NamedTuple):
    stored: frozenset[WindowKey]
    total: Sum


class LatestHours:
    """Sums up the hours of all channels."""

    def __init__(self, seam: Seam, windowing: Windowing) -> None:
        self._seam = seam
        self._windowing = windowing
        self._memory: Memory[int, _Hour] = Memory(_KEPT_HOURS)

    async def of(self, limit: int, now_ms: int) -> Latest:
        """The last `limit` hours of which something is stored."""
        missing: list[Missing] = []
        erasure = await self._seam.last_erasure()
        self._memory.renew(erasure)
        waiting = await self._waiting(missing)
        sums: dict[int, Sum] = {}
        try:
            await self._forget_written(now_ms)
            for start_ms in await self._starts(limit, now_ms + self._windowing.future_ms):
                hour = await self._hour(start_ms, erasure)
                if hour.total.windows:
                    sums[start_ms] = _with_state(hour, waiting.get(start_ms, set()))
                if len(sums) == limit:
                    break
        except mongo.FAILURES as error:
            missing.append(Missing("mongodb", str(mongo.explain(error))))
        return Latest(sums, missing)

    async def _waiting(self, missing: list[Missing]) -> dict[int, set[WindowKey]]:
        """The windows to which a flush is to come, by start."""
        waiting: dict[int, set[WindowKey]] = {}
        try:
            for reader in self._seam.readers:
                for key in await reader.unsettled():
                    waiting.setdefault(key.start_ms, set()).add(key)
        except redis.FAILURES as error:
            missing.append(Missing("redis", str(redis.explain(error))))
        return waiting

    async def _forget_written(self, now_ms: int) -> None:
        """Forget the hours to which something was written since the oldest of what is remembered was read."""
        remembered = self._memory.keys()
        if remembered:
            since = write_number(now_ms - round(KEPT_S * 1000) - _FLUSH_MS, 0)
            until_ms = max(remembered) + self._windowing.length_ms
            for start_ms in await self._seam.measurements.starts(min(remembered), until_ms, written_after=since):
                self._memory.forget(start_ms)

    async def _starts(self, limit: int, until_ms: int) -> list[int]:
        """Newest first. Of windows shorter than an hour, and so of tests and demos, only those of the last hour."""
        length_ms = self._windowing.length_ms
        last_ms = self._windowing.start_of(until_ms)
        if length_ms >= _HOUR_MS:
            return [last_ms - back * length_ms for back in range(limit + _EMPTY_HOURS)]
        return sorted(await self._seam.measurements.starts(until_ms - _HOUR_MS, until_ms), reverse=True)

    async def _hour(self, start_ms: int, erasure: object) -> _Hour:
        known = self._memory.get(start_ms)
        if known is not None:
            return known
        documents = highest_of_each(await self._seam.measurements.of_start(start_ms))
        hour = _Hour(frozenset(documents), Sum.of([Window(document, "final") for document in documents.values()]))
        if documents:
            self._memory.put(start_ms, hour, erasure)
        return hour


def _with_state(hour: _Hour, waiting: set[WindowKey]) -> Sum:
    """The sum of what is stored; its state says whether a flush is to come, and for windows that are stored or not."""
    if not waiting:
        return hour.total
    return replace(hour.total, state="revised" if waiting <= hour.stored else "rolling")
