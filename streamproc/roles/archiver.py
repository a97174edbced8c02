"""The archiver: writes each day that is final into the archive, verifies it there, and says what is due.

One day goes so, and each step may be repeated:

    settled?   the low watermark of every shard has passed the day, and then no window of it waits for a flush
    count      MongoDB says what the day comes to, and the highest write of it
    known?     archived from just that: nothing to do
    fold       the day's measurements become rows, which must come to what MongoDB counted
    stage      the file is written under another name, read back and compared row by row
    publish    it takes the day's place, unless somebody else was faster
    count      MongoDB still says the same, or all of it begins anew
    settle     the manifest names it: now, and not before, the day is archived

An erasure deletes from MongoDB first and looks into the archive after that. So either the second count sees what it
deleted, or it sees the file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from streamproc.core.day_rows import DayFold, DayRow, Totals, day_at, day_end_ms, day_start_ms
from streamproc.roles.archive_inspector import ArchiveInspector, Day, Look, State
from streamproc.stores.archive.days import Archive, Damaged, Kept
from streamproc.stores.archive.failures import Conflict
from streamproc.stores.archive.manifest import Change, Reason, Source
from streamproc.stores.archive.objects import RETENTION_DAYS
from streamproc.stores.mongo.day_totals import DayTotals, StoredDay
from streamproc.stores.mongo.measurements import MeasurementStore

logger = logging.getLogger(__name__)

_ATTEMPTS: Final = 5
#: Of these users, which are erased from the windows of a day, in part or altogether.
Erased = Callable[[Collection[str], int], Awaitable[set[str]]]


class _Unstable(Exception):
    """MongoDB's day changed while it was read."""


class Archiver:
    """Archives one database. Any number may run at once: of two at one day, one finds it done.

    Args:
        erased: says who of some users was erased from a day.
    """

    def __init__(
        self,
        inspector: ArchiveInspector,
        measurements: MeasurementStore,
        totals: DayTotals,
        archive: Archive,
        erased: Erased,
    ) -> None:
        self._inspector = inspector
        self._measurements = measurements
        self._totals = totals
        self._archive = archive
        self._erased = erased

    async def run_day(self, day: date, now_ms: int, look: Look) -> Day:
        """Archive a day if that is due. Returns how it stands then.

        Args:
            look: the shards, looked at before.

        Raises:
            redis.exceptions.RedisError, pymongo.errors.PyMongoError, ArchiveTrouble: call again.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return await self._run_day(day, now_ms, look)
            except (Conflict, _Unstable) as reason:
                logger.info("archive: %s: begun anew (%s)", day, type(reason).__name__)
                await asyncio.sleep(0.1 * attempt)
            except Damaged as error:
                return Day(day, State.DAMAGED, str(error))
        return Day(day, State.DUE, "it changed all the while; run again")

    async def tidy(self, now_ms: int, left_behind: Collection[str] = ()) -> list[date]:
        """Remove days past their seven years, and staged files that were there already when the run began.

        Returns the days that were removed. Raises ArchiveTrouble.
        """
        last = day_at(now_ms) - timedelta(days=RETENTION_DAYS + 1)
        known = await asyncio.to_thread(self._archive.manifests)
        past = [day for day in known if day < last]
        await asyncio.to_thread(self._archive.forget, past)
        await asyncio.to_thread(self._archive.remove, left_behind)
        return past

    async def _run_day(self, day: date, now_ms: int, look: Look) -> Day:
        kept = await asyncio.to_thread(self._archive.manifest, day)
        stands, stored = await self._inspector.state_of(day, now_ms, look, kept)
        if stands.state is State.MISSING:
            return await self._rescue(day, kept, now_ms)
        if stands.state not in (State.DUE, State.CHANGED):
            return stands
        if stored is None:
            return await self._finish(day, kept, now_ms)
        rows = await self._rows(day, stored.totals)
        reason: Reason = "revised" if kept.manifest.file else "archived"
        if kept.manifest.files:
            before = await asyncio.to_thread(self._archive.rows, kept)
            if before == rows and kept.manifest.settled:
                return await self._same(day, kept, stored)
            lost = _lost(before, rows)
            if lost and (left := lost - await self._erased(lost, day_start_ms(day))):
                return Day(day, State.SHRUNK, _shrunk(left), rows=len(before))
            reason = "erased" if lost else reason
        return await self._write(day, kept, rows, stored, reason, now_ms)

    async def _write(
        self, day: date, kept: Kept, rows: Sequence[DayRow], stored: StoredDay, reason: Reason, now_ms: int
    ) -> Day:
        staged = await asyncio.to_thread(self._archive.stage, day, rows, now_ms)
        try:
            kept = await asyncio.to_thread(self._archive.publish, kept, staged)
            if await self._totals.between(day_start_ms(day), day_end_ms(day)) != stored:
                raise _Unstable
            source = Source(totals=stored.totals, highest_write=stored.highest_write)
            change = Change(at_ms=now_ms, reason=reason, rows=len(rows))
            await asyncio.to_thread(self._archive.settle, kept, staged.file, source, change)
        finally:
            await asyncio.to_thread(self._archive.discard, staged)
        return Day(day, State.DONE, reason, written=True, rows=len(rows), size_bytes=staged.file.size_bytes)

    async def _same(self, day: date, kept: Kept, stored: StoredDay) -> Day:
        """Another way to the same rows: a repair that changed nothing, or an erasure that went through the archive."""
        assert kept.manifest.file is not None  # noqa: S101 - for the type checker: it is settled
        source = Source(totals=stored.totals, highest_write=stored.highest_write)
        await asyncio.to_thread(self._archive.settle, kept, kept.manifest.file, source, None)
        file = kept.manifest.file
        return Day(day, State.DONE, "the same rows", rows=file.rows, size_bytes=file.size_bytes)

    async def _finish(self, day: date, kept: Kept, now_ms: int) -> Day:
        """Settle what was begun and cannot be made again, since MongoDB has begun to forget: each candidate is good."""
        rows = await asyncio.to_thread(self._archive.rows, kept)
        if not rows and kept.manifest.file is None:
            return await self._rescue(day, kept, now_ms)
        kept = await asyncio.to_thread(self._archive.replace, kept, rows, "revised", 0, now_ms)
        assert kept.manifest.file is not None  # noqa: S101 - for the type checker: it is settled
        return Day(day, State.KEPT, "finished", written=True, rows=len(rows), size_bytes=kept.manifest.file.size_bytes)

    async def _rescue(self, day: date, kept: Kept, now_ms: int) -> Day:
        """Archive what is left of a day that MongoDB forgets, marked as partial."""
        rows = await self._rows(day, None)
        if not rows:
            return Day(day, State.MISSING, "MongoDB has forgotten it")
        kept = await asyncio.to_thread(self._archive.replace, kept, rows, "archived", 0, now_ms)
        file = kept.manifest.file
        assert file is not None  # noqa: S101 - for the type checker: it is settled
        source = Source(totals=file.totals, highest_write=0, partial=True)
        await asyncio.to_thread(self._archive.settle, kept, file, source, None)
        detail = "only what MongoDB had not forgotten yet"
        return Day(day, State.KEPT, detail, written=True, rows=len(rows), size_bytes=file.size_bytes)

    async def _rows(self, day: date, counted: Totals | None) -> list[DayRow]:
        """The day's rows, which come to what MongoDB counted. Raises _Unstable where they do not."""
        fold = DayFold()
        async for document in self._measurements.documents_between(day_start_ms(day), day_end_ms(day)):
            fold.add(document)
        rows = fold.rows()
        if counted is not None and Totals.of(rows) != counted:
            raise _Unstable
        return rows


def _lost(before: Sequence[DayRow], after: Sequence[DayRow]) -> set[str]:
    """Users of whom there is less than before."""
    now = _segments(after)
    return {user for user, segments in _segments(before).items() if now.get(user, 0) < segments}


def _segments(rows: Sequence[DayRow]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        found[row.key.user_id] = found.get(row.key.user_id, 0) + row.aggregate.segments
    return found


def _shrunk(users: Collection[str]) -> str:
    return (
        f"MongoDB holds less of {len(users)} users than the archive, and no erasure of them is known here. If they "
        "were erased, run this with the workers' STREAMPROC_ERASURE_KEY; else MongoDB lost data. What is archived stays"
    )
