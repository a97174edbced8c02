"""Looks at the whole system again and again, so that any number of clients share one look; and keeps what flowed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from math import inf
from typing import Annotated, Final

import msgspec

from streamproc.answers.overview_results import Overview

_ASKED_FOR_S: Final = 60.0
_WATCHED_PAUSE_S: Final = 2.0
_UNWATCHED_PAUSE_S: Final = 10.0
_FRESH_S: Final = 3.0
_KEPT: Final = timedelta(minutes=10)

PerSecond = Annotated[float, msgspec.Meta(ge=0)]


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """What flowed between two looks: from the ledgers, except for errors, which the pods count themselves."""

    at: Annotated[datetime, msgspec.Meta(tz=True)]
    segments_per_s: PerSecond
    errors_per_s: PerSecond
    duplicates_per_s: PerSecond


class WatchedOverview(Overview, frozen=True, kw_only=True):
    """An overview, and what flowed in the ten minutes before it, oldest first."""

    throughput: list[Throughput]


def between(earlier: Overview, later: Overview) -> Throughput | None:
    """What flowed between two looks; None where they cannot be compared: Redis was away, or a ledger began anew."""
    seconds = (later.at - earlier.at).total_seconds()
    epochs = [{shard.shard: shard.epoch for shard in one.shards} for one in (earlier, later)]
    if seconds <= 0 or not epochs[0] or epochs[0] != epochs[1]:
        return None
    counted, duplicates = (_added(earlier, later, term) for term in ("counted", "duplicates"))
    before = {worker.name: worker.errors for worker in earlier.workers}
    errors = sum(worker.errors - before[worker.name] for worker in later.workers if worker.name in before)
    return Throughput(
        at=later.at,
        segments_per_s=max(0, counted) / seconds,
        errors_per_s=max(0, errors) / seconds,
        duplicates_per_s=max(0, duplicates) / seconds,
    )


def _added(earlier: Overview, later: Overview, term: str) -> int:
    before, after = (sum(shard.ledger.get(term) or 0 for shard in one.shards) for one in (earlier, later))
    return after - before


class Sampler:
    """Looks every 2 s while somebody asked within the last minute, else every 10 s.

    Args:
        look: takes an overview; does not fail where a server is away.
    """

    def __init__(self, look: Callable[[], Awaitable[Overview]], clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._asked_s = -inf
        self._looked_s = -inf
        self._last: Overview | None = None
        self._throughput: deque[Throughput] = deque()
        self._looked = asyncio.Event()
        self._wanted = asyncio.Event()

    @property
    def last(self) -> Overview | None:
        """The last look; None before the first."""
        return self._last

    @property
    def age_s(self) -> float:
        """How long ago that was."""
        return self._clock() - self._looked_s

    async def run(self) -> None:
        """Look until cancelled. Ends with whatever a look raises."""
        while True:
            self._wanted.clear()
            self._take(await self._look())
            watched = self._clock() - self._asked_s < _ASKED_FOR_S
            await _for(self._wanted, _WATCHED_PAUSE_S if watched else _UNWATCHED_PAUSE_S)

    async def latest(self) -> WatchedOverview:
        """The last look, a fresh one where nobody has been watching."""
        self._asked_s = self._clock()
        if self.age_s > _FRESH_S:
            looked = self._looked
            self._wanted.set()
            await _for(looked, _WATCHED_PAUSE_S)
        while (last := self._last) is None:
            await self._looked.wait()
        return WatchedOverview(**msgspec.structs.asdict(last), throughput=list(self._throughput))

    def _take(self, overview: Overview) -> None:
        if self._last and (flowed := between(self._last, overview)):
            self._throughput.append(flowed)
        while self._throughput and overview.at - self._throughput[0].at > _KEPT:
            self._throughput.popleft()
        self._last, self._looked_s = overview, self._clock()
        self._looked.set()
        self._looked = asyncio.Event()


async def _for(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for an event, but not longer than that."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
