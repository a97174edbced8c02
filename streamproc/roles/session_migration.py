"""The migration of session documents: all that there are get what the session keeper would have written into them.

It goes through the collection in the order of `_id`, in batches, and keeps a checkpoint after each: whoever starts it
again goes on from there. A batch may be done twice, and workers may be at the same documents meanwhile: what is written
is worked out again from the hours each time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from streamproc.roles.session_keeper import updates_of
from streamproc.stores.mongo.checkpoints import Checkpoints
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.mongo.sessions import SessionDocument, SessionStore, Update

# Read anew so often where a worker writes to the same documents; then they are the worker's.
_ATTEMPTS: Final = 5


@dataclass(slots=True)
class Progress:
    """How far it has come. The last four add up to the first.

    Attributes:
        documents: gone through.
        updated: that were given what their hours come to.
        unchanged: that held it.
        without_hours: of which no hour is stored, and nothing was kept.
        refused: that MongoDB refuses, by a validator.
    """

    documents: int = 0
    updated: int = 0
    unchanged: int = 0
    without_hours: int = 0
    refused: int = 0


class SessionMigration:
    """Migrates the session documents of one collection."""

    def __init__(
        self, sessions: SessionStore, measurements: MeasurementReader, checkpoints: Checkpoints, batch: int = 1000
    ) -> None:
        self._sessions = sessions
        self._measurements = measurements
        self._checkpoints = checkpoints
        self._batch = batch
        self._work = f"sessions migrate: {sessions.name}"

    async def resumed(self) -> Progress:
        """How far whoever was interrupted had come."""
        return Progress(**(await self._checkpoints.load(self._work)).get("progress", {}))

    async def restart(self) -> None:
        """Begin at the beginning, next time."""
        await self._checkpoints.remove(self._work)

    async def migrate(self, now_ms: int) -> AsyncIterator[Progress]:
        """Migrate all documents, from where the last run stopped. Says after each batch how far it has come.

        Raises:
            pymongo.errors.PyMongoError: start again; it goes on from here.
        """
        saved = await self._checkpoints.load(self._work)
        after, progress = saved.get("after"), Progress(**saved.get("progress", {}))
        while page := await self._sessions.page(after, self._batch):
            await self._migrate(page, progress, now_ms)
            after = page[-1].id
            await self._checkpoints.save(self._work, after=after, progress=asdict(progress))
            yield progress
        await self._checkpoints.remove(self._work)

    async def try_out(self, now_ms: int) -> AsyncIterator[Progress]:
        """As `migrate`, from the beginning, and without changing anything."""
        after, progress = None, Progress()
        while page := await self._sessions.page(after, self._batch):
            updates = await updates_of(self._measurements, page, now_ms)
            _count(progress, page, updates, refused=0)
            after = page[-1].id
            yield progress

    async def undo(self) -> AsyncIterator[Progress]:
        """Take `hourly_metrics` out of all documents."""
        await self._checkpoints.remove(self._work)
        after, progress = None, Progress()
        while page := await self._sessions.page(after, self._batch):
            progress.documents += len(page)
            progress.updated += await self._sessions.remove_metrics([one.id for one in page])
            progress.unchanged = progress.documents - progress.updated
            after = page[-1].id
            yield progress

    async def _migrate(self, page: Sequence[SessionDocument], progress: Progress, now_ms: int) -> None:
        """One batch; what others wrote to meanwhile is read again."""
        documents = list(page)
        first: list[Update] = []
        refused = 0
        for _ in range(_ATTEMPTS):
            updates = await updates_of(self._measurements, documents, now_ms)
            first = first or updates
            updated = await self._sessions.update(updates)
            refused = len(updated.refused)
            if updated.written + refused == len(updates):
                break
            documents = await self._sessions.load([one.document.session_id for one in updates])
        _count(progress, page, first, refused)


def _count(progress: Progress, page: Sequence[SessionDocument], updates: Sequence[Update], refused: int) -> None:
    changed = {update.document.id for update in updates}
    nothing = sum(one.kept is None and one.id not in changed for one in page)
    progress.documents += len(page)
    progress.updated += len(updates) - refused
    progress.refused += refused
    progress.without_hours += nothing
    progress.unchanged += len(page) - len(updates) - nothing
