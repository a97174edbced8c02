"""What each pod says of itself, in Redis, for whoever wants to see them all at once: who is there, and how are they?

Kept in the first shard's slot: a hash with what each pod said last, and a sorted set with when that was, by Redis'
time. Nothing depends on it. It holds no user id, and is bounded: a pod is heard of, or dropped.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from streamproc import __version__
from streamproc.core.live import LiveRow
from streamproc.stores.redis import scripts
from streamproc.stores.redis.shard import Shard

#: How long a pod is kept that is not heard of any more.
SILENT_MS: Final = 60_000


class LiveSum(NamedTuple):
    """All that a pod has counted of the windows that start at `start_ms`."""

    start_ms: int
    segments: int
    errors: int
    channels: int


class PodReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod says of itself. Counts are since it started; docs/formats.md says what each is."""

    version: str
    started_at_ms: int
    troubles: list[str] = []
    counted: int = 0
    errors: int = 0
    duplicates: int = 0
    dead_lettered: int = 0
    flushed: int = 0
    shrunk: int = 0
    diverged: int = 0
    refused: int = 0
    last_flush_ms: int | None = None
    last_flush_windows: int = 0
    windows: list[LiveSum] = []
    bounds_us: list[int] = []
    channels: list[LiveRow] = []


class Present(NamedTuple):
    """A pod, what it said last, and when that was."""

    name: str
    heard_ms: int
    report: PodReport


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PodReport).decode


class PresenceStore:
    """Where pods say how they are.

    Args:
        shard: the first one.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    async def tell(self, consumer: str, report: PodReport) -> None:
        """Say how a pod is; drops those that have been silent for long. Raises redis.exceptions.RedisError."""
        await self._tell(consumer, _encode(report))

    async def leave(self, consumer: str) -> None:
        """A pod is no more. Raises redis.exceptions.RedisError."""
        await self._tell(consumer, b"")

    async def pods(self, now_ms: int) -> list[Present]:
        """The pods heard of, by name; not those silent for long, which stay where no pod is left to drop them.

        Raises:
            redis.exceptions.RedisError: nothing was seen.
        """
        client, keys = self._shard.client, self._shard.keys
        heard = await client.execute_command("ZRANGEBYSCORE", keys.heard, now_ms - SILENT_MS, "+inf", "WITHSCORES")
        flat = await client.execute_command("HGETALL", keys.pods)
        reports = dict(zip(flat[::2], flat[1::2], strict=True))
        return sorted(
            Present(name.decode(), int(heard_ms), _readable(reports[name], int(heard_ms)))
            for name, heard_ms in zip(heard[::2], heard[1::2], strict=True)
            if name in reports
        )

    async def _tell(self, consumer: str, report: bytes) -> None:
        keys = self._shard.keys
        await self._shard.run(scripts.TELL, [keys.pods, keys.heard], [consumer, report, SILENT_MS])


def _readable(report: bytes, heard_ms: int) -> PodReport:
    try:
        return _decode(report)
    except msgspec.DecodeError:
        trouble = f"what it says cannot be read by streamproc {__version__}: it is of another version"
        return PodReport(version="unknown", started_at_ms=heard_ms, troubles=[trouble])
