"""Erasing one user from Redis: the review looks at every key that there is, we ask the user's index."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import orjson

from streamproc.core.erasures import Subject
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.erasure import ShardErasure
from streamproc.stores.redis.shard import Shard

from .. import memory
from .results import RedisErasure

_PAGE: Final = 1000


async def measure_erasure(client: Any, texts: Any, segments: int, windows: int) -> RedisErasure:
    """Both on the same segments, one after the other. Ours has the stream to look through as well."""
    events = await asyncio.to_thread(memory.events_of, segments, windows)
    user_id: str = orjson.loads(events[0])["user_id"]

    await client.execute_command("FLUSHALL", "SYNC")
    await memory.mission(client, events)
    begun_s = time.perf_counter()
    review_erased = await _erase_as_the_review(texts, user_id)
    review_s = time.perf_counter() - begun_s

    await client.execute_command("FLUSHALL", "SYNC")
    shard = Shard(client)
    await memory.ours(client, events)
    await memory.stream(client, events)
    await EntryStream(shard, client, "bench").ensure_group()
    await client.execute_command("XGROUP", "SETID", shard.keys.stream, shard.group, "$")  # all of it was read
    now_ms = await shard.now_ms()
    subject = Subject(user_id, "hash", memory.WINDOWING.start_of(now_ms), now_ms)
    begun_s = time.perf_counter()
    (tally,) = await ShardErasure(shard, memory.WINDOWING).erase([subject])
    ours_s = time.perf_counter() - begun_s
    ours_erased = tally["segments"]
    assert isinstance(ours_erased, int)
    return RedisErasure(len(events), review_s, review_erased, ours_s, ours_erased)


async def _erase_as_the_review(texts: Any, user_id: str) -> int:
    """SCAN, and every hash that it names read to see whose it is."""
    cursor, erased = 0, 0
    while True:
        cursor, keys = await texts.scan(cursor=cursor, match="dubbing:segment:*", count=_PAGE)
        for key in keys:
            segment = await texts.hgetall(key)
            if segment.get("user_id") == user_id:
                await texts.delete(key)
                erased += 1
        if cursor == 0:
            return erased
