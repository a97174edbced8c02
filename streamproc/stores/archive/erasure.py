"""A layer of erasure: the archive. Files that hold a person are written again without.

Which files those are the manifests know (`manifest.user_index`); no other file is read. What an erasure covers ends in
the middle of a day, and a row is of a whole day, but it says when its first and its last segment were. A row that ends
before the covered end goes; one that begins after it stays; one that does both is made again from what MongoDB still
holds of the person's later hours, and where MongoDB has begun to forget that day, it goes altogether: rather too much
than too little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Final, NamedTuple

from streamproc.core.day_rows import DayRow, day_start_ms
from streamproc.core.erasures import Subject, Tally
from streamproc.core.windows import Windowing
from streamproc.stores.archive.days import Archive, Damaged, Kept
from streamproc.stores.archive.failures import ArchiveTrouble, Conflict

_ATTEMPTS: Final = 10

#: The rows of a user in a day, from a moment on, as MongoDB holds them; None where it has begun to forget the day.
Later = Callable[[date, str, int], Awaitable[Sequence[DayRow] | None]]


class _Change(NamedTuple):
    """What becomes of a day: its rows, and how many each subject loses."""

    rows: list[DayRow]
    removed: list[int]


class ArchiveErasure:
    """Erases from the archive. May be repeated, and done by several at once.

    Args:
        later: makes rows again that mix covered and later hours.
        now_ms: the time that is written into a manifest.
    """

    name = "archive"

    def __init__(
        self, archive: Archive, windowing: Windowing, later: Later, now_ms: Callable[[], Awaitable[int]]
    ) -> None:
        self._archive = archive
        self._windowing = windowing
        self._later = later
        self._now_ms = now_ms

    async def erase(self, subjects: Sequence[Subject]) -> list[Tally]:
        """Erase what is covered. Returns for each subject what was found. Raises ArchiveTrouble."""
        found = [{"archive_rows": 0, "archive_files": 0} for _ in subjects]
        if not subjects:
            return list(found)
        # Copies of files that are being written, or whose writer died. Who is writing begins anew.
        await asyncio.to_thread(lambda: self._archive.remove(self._archive.staged()))
        for day, kept in (await self._manifests()).items():
            if _held(kept, subjects):
                for tally, rows in zip(found, await self._erase_day(day, subjects), strict=True):
                    tally["archive_rows"] += rows
                    tally["archive_files"] += rows > 0
        return list(found)

    async def look(self, subject: Subject) -> Tally:
        """What is there of what an erasure covers. Raises ArchiveTrouble."""
        rows = [
            sum(self._is_covered(row, subject) for row in await self._rows(kept))
            for kept in (await self._manifests()).values()
            if _held(kept, [subject])
        ]
        return {"archive_rows": sum(rows), "archive_files": sum(number > 0 for number in rows)}

    async def _erase_day(self, day: date, subjects: Sequence[Subject]) -> list[int]:
        for attempt in range(_ATTEMPTS):
            kept = await self._kept(day)
            concerned = _held(kept, subjects)
            if not concerned:
                break
            change = await self._without(day, await self._rows(kept), subjects)
            # Whoever is putting one of the candidates in place loses against this writing, and begins anew. Where
            # there is no file yet, an empty one holds the place.
            awaited = any(file.may_hold(one.user_id) for one in concerned for file in kept.manifest.candidates)
            if not (any(change.removed) or awaited):
                break
            now_ms, removed = await self._now_ms(), sum(change.removed)
            try:
                await asyncio.to_thread(self._archive.replace, kept, change.rows, "erased", removed, now_ms)
            except Conflict:
                await asyncio.sleep(0.1 * attempt)
                continue
            except Damaged as error:
                raise _damaged(error) from None
            return change.removed
        else:
            raise ArchiveTrouble(f"others write {day} all the while", "Try again")
        return [0] * len(subjects)

    async def _without(self, day: date, rows: Sequence[DayRow], subjects: Sequence[Subject]) -> _Change:
        left, removed = list(rows), []
        for subject in subjects:
            covered = [row for row in left if self._is_covered(row, subject)]
            removed.append(len(covered))
            if not covered:
                continue
            until_ms = self._windowing.end_of(subject.covered_start_ms)
            mixed = any((row.aggregate.last_ms or 0) >= until_ms for row in covered)
            again = await self._later(day, subject.user_id, until_ms) if mixed else ()
            kept = [row for row in left if row.key.user_id != subject.user_id]
            pure = [row for row in left if row.key.user_id == subject.user_id and row not in covered]
            left = sorted([*kept, *(pure if again is None or not mixed else again)], key=lambda row: row.key)
        return _Change(left, removed)

    def _is_covered(self, row: DayRow, subject: Subject) -> bool:
        until_ms = self._windowing.end_of(subject.covered_start_ms)
        return row.key.user_id == subject.user_id and (row.aggregate.first_ms or 0) < until_ms

    async def _manifests(self) -> dict[date, Kept]:
        try:
            return await asyncio.to_thread(self._archive.manifests)
        except Damaged as error:
            raise _damaged(error) from None

    async def _kept(self, day: date) -> Kept:
        try:
            return await asyncio.to_thread(self._archive.manifest, day)
        except Damaged as error:
            raise _damaged(error) from None

    async def _rows(self, kept: Kept) -> list[DayRow]:
        try:
            return await asyncio.to_thread(self._archive.rows, kept)
        except Damaged as error:
            raise _damaged(error) from None


def _held(kept: Kept, subjects: Sequence[Subject]) -> list[Subject]:
    """Whose rows may be in what is archived of a day, or about to be."""
    return [
        one
        for one in subjects
        if day_start_ms(kept.manifest.day) <= one.covered_start_ms
        and any(file.may_hold(one.user_id) for file in kept.manifest.files)
    ]


def _damaged(error: Damaged) -> ArchiveTrouble:
    return ArchiveTrouble(
        f"a day of it is damaged ({error})",
        "`streamproc archive verify` names it; bring the file back, or remove it and its manifest",
    )
