"""The windows of one shard between counting and forgetting: due, taken, folded, closed, forgotten."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from streamproc.core import details
from streamproc.core.details import Detail
from streamproc.core.windows import Windowing, WindowKey
from streamproc.stores.redis import scripts
from streamproc.stores.redis.shard import Shard

logger = logging.getLogger(__name__)

_PAGE = 200
_pack = msgspec.msgpack.Encoder().encode


class Taken(NamedTuple):
    """Windows taken to be flushed, Redis' time and low watermark when they were, and when they go back."""

    keys: list[WindowKey]
    now_ms: int
    watermark_ms: int
    until_ms: int


class WindowStore:
    """Takes due windows, reads them, lets go of them."""

    def __init__(self, shard: Shard, windowing: Windowing) -> None:
        self._shard = shard
        self._windowing = windowing

    async def take_due(self, limit: int, visibility_ms: int) -> Taken | None:
        """Move up to `limit` due windows to taken. None where there is no group, hence no low watermark."""
        keys = self._shard.keys
        reply = await self._shard.run(
            scripts.TAKE_DUE, [keys.stream, keys.open, keys.taken], [self._shard.group, limit, visibility_ms]
        )
        if not reply:
            return None
        now_ms, watermark_ms, *names = reply
        return Taken(self._parse(names), now_ms, watermark_ms, now_ms + visibility_ms)

    async def fetch(self, windows: Sequence[WindowKey]) -> list[dict[str, Detail]]:
        """The segments of each window, by segment id; empty where the window is gone. One round trip."""
        pipeline = self._shard.client.pipeline(transaction=False)
        for window in windows:
            pipeline.execute_command("HGETALL", self._segments_key(window))
        return [_segments(flat) for flat in await pipeline.execute()]

    async def sizes(self, windows: Sequence[WindowKey]) -> list[int]:
        """The number of segments of each window."""
        pipeline = self._shard.client.pipeline(transaction=False)
        for window in windows:
            pipeline.execute_command("HLEN", self._segments_key(window))
        return list(await pipeline.execute())

    async def is_closed(self, window: WindowKey, revision: int) -> bool:
        """Whether the window is closed with `revision` segments: nobody is about to change what is stored of it."""
        keys, name = self._shard.keys, self._windowing.name(window)
        pipeline = self._shard.client.pipeline(transaction=False)
        pipeline.execute_command("HLEN", self._segments_key(window))
        for key in (keys.closed, keys.open, keys.taken):
            pipeline.execute_command("ZSCORE", key, name)
        size, closed, open_, taken = await pipeline.execute()
        return size == revision and closed is not None and open_ is None and taken is None

    async def finish(self, revisions: Mapping[WindowKey, int], taken: Taken) -> dict[WindowKey, str]:
        """Let go of flushed windows, which were `taken`, each with the revision that is stored.

        Returns:
            for each: ``closed``, ``open`` (it grew meanwhile), ``gone``, ``taken`` (by another flusher: left to it), or
            ``erased`` (delete what was inserted).
        """
        keys = self._shard.keys
        packed = [
            (
                self._windowing.name(window),
                revision,
                self._shard.user_hash(window.user_id),
                window.start_ms,
                self._windowing.forgettable_at(window.start_ms),
            )
            for window, revision in revisions.items()
        ]
        reply = await self._shard.run(
            scripts.FINISH,
            [keys.open, keys.taken, keys.closed, keys.erased, *map(self._segments_key, revisions)],
            [taken.now_ms, taken.until_ms, _pack(packed)],
        )
        return {window: verdict.decode() for window, verdict in zip(revisions, reply, strict=True)}

    async def give_back(self, taken: Taken) -> int:
        """Put taken windows back, due at once. Returns how many were still taken."""
        keys = self._shard.keys
        names = [self._windowing.name(window) for window in taken.keys]
        put_back = await self._shard.run(scripts.GIVE_BACK, [keys.open, keys.taken], [taken.watermark_ms, *names])
        return int(put_back)

    async def closed(self) -> AsyncIterator[list[WindowKey]]:
        """All closed windows, in pages; one that is closed all the while comes at least once."""
        cursor = 0
        while True:
            cursor, page = await self._shard.client.execute_command(
                "ZSCAN", self._shard.keys.closed, cursor, "COUNT", _PAGE
            )
            yield self._parse([name for name, _score in page])
            if not cursor:
                return

    async def forgettable(self, limit: int) -> list[WindowKey]:
        """Closed windows to which nothing can be added any more."""
        keys = self._shard.keys
        names = await self._shard.run(scripts.FORGETTABLE, [keys.stream, keys.closed], [self._shard.group, limit])
        return self._parse(names)

    async def forget(self, stored: Mapping[WindowKey, int], now_ms: int) -> dict[WindowKey, str]:
        """Forget windows, each with the revision seen in MongoDB (0: none).

        Returns:
            for each: ``forgotten``, ``open`` (more segments than stored: to be flushed again) or ``busy``.
        """
        own = self._shard.keys
        keys = [own.open, own.taken, own.closed, own.ledger, own.stream]
        packed: list[Any] = []
        for window, revision in stored.items():
            name = self._windowing.name(window)
            of_window = own.window(name)
            keys += (of_window.segments, of_window.channel, of_window.user)
            packed.append((name, revision, self._windowing.end_of(window.start_ms)))
        reply = await self._shard.run(scripts.FORGET, keys, [now_ms, _pack(packed), self._shard.group])
        return {window: verdict.decode() for window, verdict in zip(stored, reply, strict=True)}

    async def now_ms(self) -> int:
        """Redis' time."""
        return await self._shard.now_ms()

    async def take_turn(self, task: str, every_ms: int) -> bool:
        """Whether it is the caller's turn at a task that one pod does for all, once in `every_ms`."""
        key = self._shard.keys.turn(task)
        return await self._shard.client.set(key, "1", nx=True, px=every_ms) is True

    def _parse(self, names: Sequence[bytes]) -> list[WindowKey]:
        """The windows of these names. Names that a stranger wrote are reported, and hold up no other."""
        windows = []
        foreign = 0
        for name in names:
            try:
                windows.append(self._windowing.parse_name(name.decode()))
            except ValueError:
                foreign += 1
        if foreign:
            keys = self._shard.keys
            logger.error(
                "%d members of %s, %s or %s name no window of this length, and are passed over: whatever wrote them "
                "is not streamproc with these settings. Look with ZRANGE, remove with ZREM",
                foreign,
                keys.open,
                keys.taken,
                keys.closed,
            )
        return windows

    def _segments_key(self, window: WindowKey) -> str:
        return self._shard.keys.window(self._windowing.name(window)).segments


def _segments(flat: Sequence[bytes]) -> dict[str, Detail]:
    names = [name.decode() for name in flat[::2]]
    return dict(zip(names, details.decode_all(flat[1::2]), strict=True))
