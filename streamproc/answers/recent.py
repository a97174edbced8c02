"""What is going on: the last segments of a channel, and the channels of the last day."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import NamedTuple

from streamproc.answers.memory import Memory
from streamproc.answers.results import Missing
from streamproc.answers.seam import UNREADABLE, Seam, add
from streamproc.core.details import Detail
from streamproc.core.windows import WindowKey
from streamproc.stores.mongo import failures as mongo
from streamproc.stores.redis import failures as redis

_US_PER_MS = 1000


class Recent(NamedTuple):
    """Segments with their window and id, newest first; whether there were more; and what is missing."""

    newest: Sequence[tuple[WindowKey, str, Detail]]
    cut: bool
    missing: list[Missing]


async def recent(seam: Seam, channel_id: str, starts: tuple[int, int], since_ms: int, *, most: int) -> Recent:
    """The last segments, at most so many, received since `since_ms` in windows that start from and before `starts`.

    Details are in Redis alone; it keeps them until the lateness horizon after the end of their window.
    """
    sight = await seam.look(lambda reader: reader.of_channel(channel_id, *starts))
    segments = []
    for reader in sight.readers:
        stands = [stand for by, stand in sight.seen if by is reader]
        try:
            windows = await reader.segments_since(stands, since_ms * _US_PER_MS)
        except redis.FAILURES as error:
            add(sight.missing, Missing("redis", str(redis.explain(error))))
            continue
        if None in windows.values():
            add(sight.missing, UNREADABLE)
        segments += [(key, name, detail) for key, one in windows.items() for name, detail in (one or {}).items()]
    newest = nlargest(most, segments, key=lambda one: (one[2].received_at_us, one[1], one[0]))
    return Recent(newest, len(segments) > most, sight.missing)


class KnownChannels(NamedTuple):
    """Channels, in no order; and what is missing."""

    channels: set[str]
    missing: list[Missing]


class RecentChannels:
    """Which channels there are. Remembers MongoDB's part, which goes through the measurements of a whole day."""

    def __init__(self, seam: Seam) -> None:
        self._seam = seam
        self._memory: Memory[str, set[str]] = Memory(1)

    async def of(self, since_ms: int) -> KnownChannels:
        """The channels of windows that start at `since_ms` or later."""
        found: set[str] = set()
        missing: list[Missing] = []
        try:
            for reader in self._seam.readers:
                found |= await reader.channels(since_ms)
        except redis.FAILURES as error:
            missing.append(Missing("redis", str(redis.explain(error))))
        try:
            found |= await self._stored(since_ms)
        except mongo.FAILURES as error:
            missing.append(Missing("mongodb", str(mongo.explain(error))))
        return KnownChannels(found, missing)

    async def _stored(self, since_ms: int) -> set[str]:
        known = self._memory.get("stored")
        if known is None:
            known = await self._seam.measurements.channels(since_ms)
            self._memory.put("stored", known)
        return known
