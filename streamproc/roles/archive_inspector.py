"""The archive's inspector: how each day stands, what is wrong with what is archived, which days are overdue.

It only looks. A day is final when the low watermark of every shard has passed the last moment at which anything can be
added to it, and then no window of it waits for a flush. In this order: a flusher lets go of a window once it is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from streamproc.core.day_rows import day_at, day_end_ms, day_start_ms, days_between, final_at_ms
from streamproc.core.windows import Windowing
from streamproc.stores.archive.days import Archive, Damaged, Kept
from streamproc.stores.archive.failures import ArchiveTrouble
from streamproc.stores.mongo.day_totals import DayTotals, StoredDay
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.unsettled import unsettled

#: MongoDB deletes by its own clock, once a minute; a day that is about to go is not read any more.
_MARGIN_MS: Final = 3_600_000


class State(StrEnum):
    """How a day stands."""

    DONE = "done"  # archived from what MongoDB holds
    KEPT = "kept"  # archived, and MongoDB holds it no more
    DUE = "due"  # final, and not archived
    CHANGED = "changed"  # archived from something else than MongoDB holds now
    WAITING = "waiting"  # not final yet
    MISSING = "missing"  # MongoDB has begun to forget it, and it is not archived
    SHRUNK = "shrunk"  # MongoDB holds less than the archive, and nobody was erased: what is archived stays
    DAMAGED = "damaged"  # what is archived cannot be trusted


#: What somebody must see to.
BAD: Final = (State.MISSING, State.SHRUNK, State.DAMAGED)


@dataclass(frozen=True, slots=True)
class Day:
    """A day, how it stands, and why; what was done about it."""

    day: date
    state: State
    detail: str = ""
    written: bool = False
    rows: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ArchivePolicy:
    """How long things are kept, and from when a day that is not archived is overdue."""

    measurement_retention_ms: int = 7_776_000_000
    overdue_ms: int = 80 * 86_400_000


class Look(NamedTuple):
    """How far the shards are, and which hours they have not flushed; the watermark is None where that is not known."""

    watermark_ms: int | None
    starts_ms: frozenset[int] = frozenset()


class Overdue(NamedTuple):
    """Days that are overdue; and where the archive could not be looked at, why: then they may only seem so."""

    days: list[date]
    trouble: Exception | None


class ArchiveInspector:
    """Inspects the archive of one database."""

    def __init__(
        self,
        shards: Sequence[Shard],
        totals: DayTotals,
        archive: Archive,
        windowing: Windowing,
        policy: ArchivePolicy,
    ) -> None:
        self._shards = shards
        self._totals = totals
        self._archive = archive
        self._windowing = windowing
        self._policy = policy
        self._settled: set[date] = set()

    async def now_ms(self) -> int:
        """The latest time of all shards. Raises redis.exceptions.RedisError."""
        return max([await shard.now_ms() for shard in self._shards])

    async def candidates(self, now_ms: int, since: date | None = None) -> list[date]:
        """The days of which MongoDB holds anything, yesterday the last. Raises pymongo.errors.PyMongoError."""
        first = day_at(now_ms - self._policy.measurement_retention_ms)
        days = days_between(max(first, since or first), day_at(now_ms) - timedelta(days=1))
        return [day for day in days if await self._totals.any_between(day_start_ms(day), day_end_ms(day))]

    async def look(self) -> Look:
        """How far the shards are: first of all, before MongoDB is asked. Raises redis.exceptions.RedisError."""
        seen = [await unsettled(shard, self._windowing) for shard in self._shards]
        if any(one is None for one in seen):
            return Look(None)
        known = [one for one in seen if one is not None]
        starts_ms = frozenset(start for one in known for start in one.starts_ms)
        return Look(min(one.watermark_ms for one in known), starts_ms)

    async def state_of(self, day: date, now_ms: int, look: Look, kept: Kept) -> tuple[Day, StoredDay | None]:
        """How a day stands, and what MongoDB holds of it, where that was asked."""
        manifest = kept.manifest
        rows, size = (manifest.file.rows, manifest.file.size_bytes) if manifest.file else (0, 0)

        def stands(state: State, detail: str = "") -> Day:
            return Day(day, state, detail, rows=rows, size_bytes=size)

        if self.going(day, now_ms):
            if not manifest.files:
                return stands(State.MISSING, "MongoDB has begun to forget it"), None
            return (stands(State.KEPT) if manifest.settled else stands(State.CHANGED, "begun, not finished")), None
        if waits := self._waits_for(day, look):
            return stands(State.WAITING, waits), None
        stored = await self._totals.between(day_start_ms(day), day_end_ms(day))
        if not manifest.settled:
            return stands(State.CHANGED if manifest.files else State.DUE), stored
        source = manifest.source
        if source and (source.totals, source.highest_write) == stored:
            return stands(State.DONE), stored
        return stands(State.CHANGED, "MongoDB holds something else now"), stored

    async def overdue(self, now_ms: int) -> Overdue:
        """Days older than `overdue_ms` that MongoDB still holds and that are not known to be archived.

        Raises:
            pymongo.errors.PyMongoError: nothing can be said.
        """
        first = day_at(now_ms - self._policy.measurement_retention_ms)
        last = day_at(now_ms - self._policy.overdue_ms) - timedelta(days=1)
        late, trouble = [], None
        self._settled = {day for day in self._settled if day >= first}
        for day in days_between(first, last):
            if day in self._settled:  # seen before: a day is not unarchived
                continue
            try:
                settled = (await asyncio.to_thread(self._archive.manifest, day)).manifest.settled
            except (ArchiveTrouble, Damaged) as error:
                settled, trouble = False, error
            if settled:
                self._settled.add(day)
            elif await self._totals.any_between(day_start_ms(day), day_end_ms(day)):
                late.append(day)
        return Overdue(late, trouble)

    async def verify(self, kept: Kept, now_ms: int, look: Look) -> list[str]:
        """What is wrong with an archived day, read anew; compared with MongoDB while that holds the day.

        Raises:
            redis.exceptions.RedisError, pymongo.errors.PyMongoError, ArchiveTrouble: nothing can be said.
        """
        wrong = await asyncio.to_thread(self._archive.verify, kept)
        day, file = kept.manifest.day, kept.manifest.file
        if wrong or file is None or self.going(day, now_ms) or self._waits_for(day, look):
            return wrong
        stored = await self._totals.between(day_start_ms(day), day_end_ms(day))
        return [f"the archive and MongoDB differ: {one}" for one in file.totals.differences(stored.totals)]

    def going(self, day: date, now_ms: int) -> bool:
        """Whether MongoDB may have begun to forget the day."""
        return day_start_ms(day) + self._policy.measurement_retention_ms < now_ms + _MARGIN_MS

    def _waits_for(self, day: date, look: Look) -> str:
        """Why the day is not final; '' where it is."""
        if look.watermark_ms is None:
            return "stream or group is missing, so that nobody knows what is still to come"
        final_ms = final_at_ms(day, self._windowing)
        if look.watermark_ms <= final_ms:
            hours = (final_ms - look.watermark_ms) / 3_600_000
            return f"late events may still come, by the low watermark for {hours:.1f} hours"
        if any(day_start_ms(day) <= start < day_end_ms(day) for start in look.starts_ms):
            return "windows of it wait for a flush"
        return ""
