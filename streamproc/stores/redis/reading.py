"""What one shard can tell whoever asks questions: which windows there are, where they stand, and their segments.

Writes nothing. Takes any client of redis.asyncio, whether or not it decodes replies.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from redis.exceptions import TimeoutError as RedisTimeout

from streamproc.core import details
from streamproc.core.details import LAYOUT_VERSION, Detail
from streamproc.core.windows import Windowing, WindowKey, unescape
from streamproc.stores.redis import scripts
from streamproc.stores.redis.shard import LayoutMismatch, Shard

_T = TypeVar("_T")

# A server that says nothing for so long counts as away. It bounds silence, not answers: what is much comes in slices.
_SILENCE_S: Final = 1.2
_SLICE: Final = 40
_BATCH: Final = 1000
#: Names that a script goes through: about a millisecond, in which everyone waits.
_MOST_AT_ONCE: Final = 5000
# Windows may be a second long, and a question may reach back for months: of so many starts, the newest, each is looked
# up. Of windows of an hour that is more than two years.
_STARTS: Final = 20_000


class Stand(NamedTuple):
    """Where a window stood: how many segments it had, and whether MongoDB held as many, so that no flush is to come."""

    key: WindowKey
    name: str
    size: int
    settled: bool


class _Arrival(msgspec.Struct, array_like=True, tag=LAYOUT_VERSION, frozen=True, gc=False):
    """The one position of a detail that says whether the others are wanted, for a fifth of the cost of reading all."""

    received_at_us: int


_arrivals = msgspec.json.Decoder(list[_Arrival])


class WindowReader:
    """Reads the windows of one shard.

    All of it raises redis.exceptions.RedisError, within little more than a second where the server is away.
    """

    def __init__(self, shard: Shard, windowing: Windowing) -> None:
        self._shard = shard
        self._keys = shard.keys
        self._windowing = windowing
        # Hours are few and parsing one costs more than all the rest of a name.
        self._start_ms = lru_cache(maxsize=10_000)(lambda hour: windowing.parse_name(f"{hour}:::").start_ms)

    async def check_layout(self, shards: int) -> None:
        """Raises LayoutMismatch if the shard's data was made with other settings: answers would be wrong."""
        ours = {"shards": shards, "window_ms": self._windowing.length_ms}
        (found,) = await self._pipeline([("HMGET", self._keys.layout, *ours)])
        for (name, value), there in zip(ours.items(), found, strict=True):
            if there is not None and int(there) != value:
                raise LayoutMismatch(
                    f"the data under {self._keys.layout} was made with {name} {int(there)}, and here it is {value}: "
                    "answers would be wrong. Give this process the SHARDS and WINDOW_SECONDS of the workers"
                )

    async def last_erasure(self) -> object:
        """What `ShardErasure.tell` wrote."""
        (found,) = await self._pipeline([("GET", self._keys.last_erasure)])
        return found

    async def of_channel(self, channel_id: str, since_ms: int, until_ms: int) -> list[Stand]:
        """Where the channel's windows stand that start in ``[since_ms, until_ms)``."""
        windowing = self._windowing
        first_ms = windowing.start_of(since_ms + windowing.length_ms - 1)
        starts = range(first_ms, until_ms, windowing.length_ms)[-_STARTS:]
        indexes = [self._keys.channel(windowing.hour_name(start_ms), channel_id) for start_ms in starts]
        replies = await self._pipeline([("SUNION", *batch) for batch in _batches(indexes, _BATCH)])
        return await self._stands(name for names in replies for name in names)

    async def of_user(self, user_id: str, since_ms: int, until_ms: int) -> list[Stand]:
        """As `of_channel`, of a user."""
        index = self._keys.user(user_id)
        (names,) = await self._pipeline([("ZRANGE", index, since_ms, f"({until_ms}", "BYSCORE")])
        return await self._stands(names)

    async def of_session(self, session_id: str, *, also_closed: bool = False) -> list[Stand]:
        """As `of_channel`, of a session, and those windows alone to which a flush is to come.

        Args:
            also_closed: closed windows as well. No index leads to them: this goes through the names of a whole day.
        """
        pattern = self._keys.names_of_session(session_id)
        names = await self._unsettled(pattern)
        if also_closed:
            names += [name async for page in self._pages(self._keys.closed, pattern) for name in page]
        return await self._stands(names)

    async def unsettled(self) -> set[WindowKey]:
        """All windows to which a flush is to come; one may be missed that goes back to `open` at this very moment."""
        zsets = self._keys.open, self._keys.taken
        keys = [self._key(name) for zset in zsets async for page in self._pages(zset) for name in page]
        return {key for key in keys if key}

    async def channels(self, since_ms: int) -> set[str]:
        """The channels that have a window which starts at `since_ms` or later."""
        found: set[tuple[str, ...]] = set()
        for zset in (self._keys.open, self._keys.taken, self._keys.closed):
            async for names in self._pages(zset):  # some 25,000 in all, of a few channels
                found.update(tuple(name.split(":", 2)[:2]) for name in names)
        keys = filter(None, (self._key(":".join((*parts, "", ""))) for parts in found))
        return {key.channel_id for key in keys if key.start_ms >= since_ms}

    async def segments(self, stands: Sequence[Stand]) -> dict[WindowKey, dict[str, Detail] | None]:
        """The segments of each window, by segment id. A window that is gone is not among them.

        None for one that cannot be read: a newer version, or a stranger, wrote some of its segments.
        """
        found: dict[WindowKey, dict[str, Detail] | None] = {}
        async for stand, names, raw in self._fetch(stands):
            try:
                found[stand.key] = dict(zip(map(_text, names), details.decode_all(raw), strict=True))
            except msgspec.MsgspecError:
                found[stand.key] = None
        return found

    async def segments_since(self, stands: Sequence[Stand], since_us: int) -> dict[WindowKey, dict[str, Detail] | None]:
        """As `segments`, but of each window only what was received at `since_us` or later."""
        found: dict[WindowKey, dict[str, Detail] | None] = {}
        async for stand, names, raw in self._fetch(stands):
            try:
                arrivals = _arrivals.decode(b"[" + b",".join(raw) + b"]")
                recent = [number for number, one in enumerate(arrivals) if one.received_at_us >= since_us]
                values = details.decode_all([raw[number] for number in recent])
            except msgspec.MsgspecError:
                found[stand.key] = None
            else:
                found[stand.key] = dict(zip((_text(names[number]) for number in recent), values, strict=True))
        return found

    async def _unsettled(self, pattern: str) -> list[str]:
        """The names in `open` and `taken` that match, of which none escapes by moving meanwhile.

        Of very many (when MongoDB has been away for hours) page by page, so that nobody has to wait, and twice: to
        escape, a window would have to be taken, put back and taken again by flushers within these few milliseconds.
        """
        zsets = [self._keys.open, self._keys.taken]
        names = await _in_time(self._shard.run(scripts.NAMED, zsets, [pattern, _MOST_AT_ONCE]))
        if names is not None:
            return [_text(name) for name in names]
        return [name for zset in (*zsets, *zsets) async for page in self._pages(zset, pattern) for name in page]

    async def _stands(self, names: Iterable[bytes | str]) -> list[Stand]:
        """Where the windows of these names stand, each at one moment. Of those that are gone, nothing."""
        keys = {text: key for name in names if (key := self._key(text := _text(name)))}
        found = []
        for batch in _batches(list(keys), _BATCH):
            windows = [self._keys.open, self._keys.taken, *map(self._keys.segments, batch)]
            reply = await _in_time(self._shard.run(scripts.STAND, windows, batch))
            each = zip(batch, reply[::2], reply[1::2], strict=True)
            found += [Stand(keys[name], name, size, not to_come) for name, size, to_come in each if size]
        return found

    async def _fetch(self, stands: Sequence[Stand]) -> AsyncIterator[tuple[Stand, Sequence[bytes | str], list[bytes]]]:
        """The segments of the windows that are there still: their ids, and the stored form of each."""
        for batch in _batches(stands, _SLICE):
            replies = await self._pipeline([("HGETALL", self._keys.segments(stand.name)) for stand in batch])
            for stand, reply in zip(batch, replies, strict=True):
                if reply:  # a mapping or as it came, decoded or not: that is how the client was made
                    flat = [part for pair in reply.items() for part in pair] if isinstance(reply, Mapping) else reply
                    yield stand, flat[::2], [raw if isinstance(raw, bytes) else raw.encode() for raw in flat[1::2]]

    async def _pages(self, zset: str, pattern: str = "*") -> AsyncIterator[list[str]]:
        cursor: Any = 0
        while True:
            ((cursor, page),) = await self._pipeline([("ZSCAN", zset, cursor, "MATCH", pattern, "COUNT", _BATCH)])
            yield [_text(name) for name, _score in page]
            if not int(cursor):
                return

    async def _pipeline(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        pipeline = self._shard.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return list(await _in_time(pipeline.execute()))

    def _key(self, name: str) -> WindowKey | None:
        """The window of a name; None for one that a stranger wrote, which holds up no other."""
        hour, *identifiers = name.split(":")
        if len(identifiers) != len(WindowKey._fields) - 1:
            return None
        try:
            return WindowKey(self._start_ms(hour), *(map(unescape, identifiers) if "%" in name else identifiers))
        except ValueError:
            return None


async def _in_time(reply: Awaitable[_T]) -> _T:
    try:
        async with asyncio.timeout(_SILENCE_S):
            return await reply
    except TimeoutError:
        raise RedisTimeout("Timeout reading from server") from None


def _text(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode(errors="replace")


def _batches(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
