"""Which windows of a shard could be flushed by now."""

from __future__ import annotations

from typing import NamedTuple

from streamproc.stores.redis.shard import Shard


class Dues(NamedTuple):
    """Windows in `open` that are due, and when the first of them was, as a low watermark; None where there is none."""

    windows: int
    first_ms: int | None


async def dues(shard: Shard, watermark_ms: int) -> Dues:
    """The windows due at a low watermark. Raises redis.exceptions.RedisError."""
    windows = await shard.client.execute_command("ZCOUNT", shard.keys.open, "-inf", watermark_ms)
    if not windows:
        return Dues(0, None)
    first = await shard.client.execute_command("ZRANGE", shard.keys.open, 0, 0, "WITHSCORES")
    return Dues(int(windows), int(float(first[1])) if first else None)
