"""The archive as the settings name it, and the roles that work on it: for workers and commands."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import NamedTuple

from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.core.day_rows import DayFold, DayRow, day_end_ms
from streamproc.roles.archive_inspector import ArchiveInspector
from streamproc.roles.archiver import Archiver
from streamproc.stores.archive.days import Archive
from streamproc.stores.archive.erasure import ArchiveErasure
from streamproc.stores.archive.objects import open_objects
from streamproc.stores.mongo.day_totals import DayTotals
from streamproc.stores.mongo.erasures import ErasureStore
from streamproc.stores.mongo.measurements import MeasurementStore


class Archiving(NamedTuple):
    """Everything about the archive that a command needs."""

    archive: Archive
    inspector: ArchiveInspector
    archiver: Archiver


def open_archive(settings: Settings) -> Archive | None:
    """None without ARCHIVE_URL. Nothing is asked of the storage yet.

    Raises:
        LibraryMissing: Google's client is not installed, and needed.
    """
    return Archive(open_objects(settings.archive_url)) if settings.archive_url else None


def make_archiving(connections: Connections) -> Archiving | None:
    """None without ARCHIVE_URL. Raises LibraryMissing."""
    settings = connections.settings
    archive = open_archive(settings)
    if archive is None:
        return None
    totals = DayTotals(connections.database)
    inspector = ArchiveInspector(connections.shards, totals, archive, settings.windowing, settings.archive_policy)
    erasures = _Erasures(connections)
    archiver = Archiver(inspector, MeasurementStore(connections.database), totals, archive, erasures.erased)
    return Archiving(archive, inspector, archiver)


def make_archive_erasure(connections: Connections) -> ArchiveErasure | None:
    """The archive's layer of erasure; None without ARCHIVE_URL. Raises LibraryMissing."""
    archiving = make_archiving(connections)
    if archiving is None:
        return None
    inspector, measurements = archiving.inspector, MeasurementStore(connections.database)

    async def later(day: date, user_id: str, since_ms: int) -> Sequence[DayRow] | None:
        if inspector.going(day, await inspector.now_ms()):
            return None
        fold = DayFold()
        async for document in measurements.documents_between(since_ms, day_end_ms(day)):
            if document["metadata"]["user_id"] == user_id:
                fold.add(document)
        return fold.rows()

    return ArchiveErasure(archiving.archive, connections.settings.windowing, later, inspector.now_ms)


class _Erasures:
    """Who was erased, for an archiver that finds less of somebody than it archived."""

    def __init__(self, connections: Connections) -> None:
        self._key = connections.shards[0].erasure_key
        self._erasures = ErasureStore(connections.database)

    async def erased(self, users: Collection[str], since_ms: int) -> set[str]:
        """Those of them of whom windows since then are erased. Without a key nobody can be erased."""
        if self._key is None:
            return set()
        found = set()
        for user in users:
            erasures = await self._erasures.of_user(self._key.hash(user))
            if any(one.covered_start_ms >= since_ms for one in erasures):
                found.add(user)
        return found
