"""Where Redis and MongoDB join: each window once, with all that was counted of it before the question was asked.

A window is in Redis, in MongoDB, or in both, and moves while it is asked about. So: **Redis says first which windows
there are, then both are read, and of a window in both more segments win.** Windows only grow, and are told apart by
their key, so none can come twice, and what is left to show is that none goes missing, and none is older than it was
when Redis was asked.

Redis says of each window that it names, at one moment (`stand.lua`), its size, and whether a flush is to come: whether
it is in `open` or `taken`. What had been counted of it by then, if

*   a flush is to come: is in Redis, and is read from there, while MongoDB is asked for all the others. If it is gone
    when it comes to that, then the janitor forgot it, which it does only with what MongoDB holds: if MongoDB answered
    too early to have it, it is asked once more. Or its user was erased.
*   no flush is to come: is in MongoDB, since a flusher moves a window to `closed` only while it has as many segments as
    the flusher stored; a majority has them, and a majority is what is read. The measurement may be replaced while the
    query runs, and its cursor find neither, or the lower one: then MongoDB seems to be behind, and the window is read
    from Redis after all; or from MongoDB once more, if it is gone there, too. So also where MongoDB lost what it had,
    and Redis still has it.
*   Redis names no such window: is in MongoDB, or was never counted. Names are in their index from the first segment of
    the window until it is forgotten, and what is forgotten changes no more.

No index leads from a session to its closed windows, so for that question Redis names only those to which a flush is to
come. A closed one could be missed by the cursor alone, if a late event came, and was flushed, while the query runs: the
quiet time before such a flush (LATE_QUIET_SECONDS) is what rules that out.

Where Redis is away, MongoDB's part is answered as it is stored. Where MongoDB is away, all windows that Redis names are
read there; and the answer says what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from streamproc.answers.memory import Memory
from streamproc.answers.results import Missing
from streamproc.core.fold import fold
from streamproc.core.rows import Document, Window, document_of, highest_of_each
from streamproc.core.windows import WindowKey
from streamproc.stores.mongo import failures as mongo
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.redis import failures as redis
from streamproc.stores.redis.reading import Stand, WindowReader

# The fold of a window of 240 segments takes about 0.3 ms: between slices the event loop turns.
_SLICE: Final = 20
_FOLDS: Final = 5000

Look = Callable[[WindowReader], Awaitable[list[Stand]]]
Ask = Callable[[MeasurementReader], Awaitable[list[Document]]]


class Seen(NamedTuple):
    """A window that Redis named, and by whom it can be read."""

    reader: WindowReader
    stand: Stand


@dataclass(slots=True)
class Sight:
    """What Redis named, by whom it was asked, and what is missing so far."""

    readers: Sequence[WindowReader]
    seen: list[Seen] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


class Found(NamedTuple):
    """The windows, each once, and what is missing."""

    windows: dict[WindowKey, Window]
    missing: list[Missing]


class Seam:
    """Asks both stores.

    Folded windows are remembered by name and size, for a window of that size is that window: a window that grows is
    folded again, one that only waits to be flushed is not.
    """

    def __init__(self, readers: Sequence[WindowReader], measurements: MeasurementReader) -> None:
        self.readers = readers
        self.measurements = measurements
        self._suitable: set[WindowReader] = set()
        self._folds: Memory[tuple[str, int], Document] = Memory(_FOLDS)

    async def look(self, look: Look, readers: Iterable[WindowReader] | None = None) -> Sight:
        """Ask Redis which windows there are: all shards, or those of `readers`.

        Raises:
            LayoutMismatch: the data was made with other settings.
        """
        asked = list(self.readers if readers is None else readers)
        replies = await asyncio.gather(*(self._look(look, reader) for reader in asked), return_exceptions=True)
        sight = Sight(asked)
        for reader, reply in zip(asked, replies, strict=True):
            if isinstance(reply, redis.FAILURES):
                add(sight.missing, Missing("redis", str(redis.explain(reply))))
            elif isinstance(reply, BaseException):
                raise reply
            else:
                sight.seen += [Seen(reader, stand) for stand in reply]
        return sight

    async def last_erasure(self) -> object:
        """Names the last erasure that removed anything; what was read before it may hold who is erased. None where
        Redis is away: then nobody knows.
        """
        try:
            return await self.readers[0].last_erasure()
        except redis.FAILURES:
            return None

    async def _look(self, look: Look, reader: WindowReader) -> list[Stand]:
        if reader not in self._suitable:
            await reader.check_layout(len(self.readers))
            self._suitable.add(reader)
        return await look(reader)

    async def join(self, sight: Sight, ask: Ask, *, otherwise: Look | None = None) -> Found:
        """Read from Redis what is not stored, ask MongoDB for the rest at the same time, and join them.

        Args:
            otherwise: how to look again if MongoDB is away, where the first look was for unsettled windows alone.
        """
        missing = list(sight.missing)
        unsettled = [one for one in sight.seen if not one.stand.settled]
        kept, stored = await asyncio.gather(self._read(unsettled, missing), self._stored(ask, missing))
        if stored is None:
            seen = (await self.look(otherwise, sight.readers)).seen if otherwise else sight.seen
            return Found(await self._without_mongodb(seen, kept, missing), missing)
        behind = [one for one in sight.seen if one.stand.key not in kept and one.stand.size > _size(stored, one)]
        kept |= await self._read(behind, missing)
        if gone := {one.stand.key for one in behind} - kept.keys():
            stored = await self._once_more(gone, stored, missing)
        return Found(_joined(kept, stored), missing)

    async def _once_more(
        self, keys: set[WindowKey], stored: dict[WindowKey, Document], missing: list[Missing]
    ) -> dict[WindowKey, Document]:
        """What MongoDB holds now of these windows, which Redis has forgotten: nothing, if their user was erased."""
        anew = await self._stored(lambda measurements: measurements.of_windows(keys), missing)
        if anew is None:
            return stored
        return {key: document for key, document in stored.items() if key not in keys} | anew

    async def _without_mongodb(
        self, seen: Sequence[Seen], kept: dict[WindowKey, Document], missing: list[Missing]
    ) -> dict[WindowKey, Window]:
        """All windows that Redis names. The settled ones are as they are stored, though nobody can look there now."""
        settled = [one for one in seen if one.stand.settled]
        documents = await self._read(settled, missing)
        final = {key: Window(document, "final") for key, document in documents.items()}
        return final | {key: Window(document, "rolling") for key, document in kept.items()}

    async def _read(self, seen: Sequence[Seen], missing: list[Missing]) -> dict[WindowKey, Document]:
        """The documents of windows that are there still, folded from their segments."""
        documents: dict[WindowKey, Document] = {}
        wanted: dict[WindowReader, list[Stand]] = {}
        for reader, stand in seen:
            folded = self._folds.get((stand.name, stand.size))
            if folded is None:
                wanted.setdefault(reader, []).append(stand)
            else:
                documents[stand.key] = folded
        try:
            for reader, stands in wanted.items():
                for first in range(0, len(stands), _SLICE):
                    documents |= await self._fold(reader, stands[first : first + _SLICE], missing)
        except redis.FAILURES as error:
            add(missing, Missing("redis", str(redis.explain(error))))
        return documents

    async def _fold(
        self, reader: WindowReader, stands: Sequence[Stand], missing: list[Missing]
    ) -> dict[WindowKey, Document]:
        names = {stand.key: stand.name for stand in stands}
        documents = {}
        for key, segments in (await reader.segments(stands)).items():
            if segments is None:
                add(missing, UNREADABLE)
                continue
            document = documents[key] = document_of(fold(key, segments))
            self._folds.put((names[key], len(segments)), document)
        return documents

    async def _stored(self, ask: Ask, missing: list[Missing]) -> dict[WindowKey, Document] | None:
        """What MongoDB holds; None where it is away."""
        try:
            return highest_of_each(await ask(self.measurements))
        except mongo.FAILURES as error:
            add(missing, Missing("mongodb", str(mongo.explain(error))))
            return None


UNREADABLE: Final = Missing(
    "redis", "some windows hold segments that a newer streamproc, or another program, wrote. Update streamproc here"
)


def add(missing: list[Missing], one: Missing) -> None:
    """Say each thing once."""
    if one not in missing:
        missing.append(one)


def _joined(kept: Mapping[WindowKey, Document], stored: Mapping[WindowKey, Document]) -> dict[WindowKey, Window]:
    """Each window once; of one in both, more segments win."""
    windows = {key: Window(document, "final") for key, document in stored.items()}
    for key, document in kept.items():
        if key not in stored:
            windows[key] = Window(document, "rolling")
        elif document["segments_processed"] > stored[key]["segments_processed"]:
            windows[key] = Window(document, "revised")
    return windows


def _size(documents: Mapping[WindowKey, Document], seen: Seen) -> int:
    document = documents.get(seen.stand.key)
    return 0 if document is None else int(document["segments_processed"])
