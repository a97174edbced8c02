"""The network loses replies, is slow, cuts connections, or forgets them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from .proxy import Proxy
from .stage import Stage


async def drop_replies(stage: Stage, of: Callable[[Stage], Proxy], requests: tuple[bytes, ...]) -> int:
    """Requests arrive and are carried out, their replies do not: one of each kind, in any order."""
    proxy, before = of(stage), of(stage).dropped
    for request in stage.rng.sample(requests, len(requests)):
        with suppress(TimeoutError):
            await asyncio.wait_for(proxy.drop_reply(request), stage.settings.window_seconds)
    return proxy.dropped - before


async def slow_and_cut(stage: Stage, of: Callable[[Stage], Proxy]) -> int:
    """Everything takes up to 0.6 s longer, there and back; then connections are cut in the middle of it."""
    proxy = of(stage)
    proxy.latency_s = (0.02, 0.3)
    try:
        await stage.pause(1, 4)
        return proxy.cut(0.7)
    finally:
        proxy.latency_s = (0.0, 0.0)


async def silence_redis(stage: Stage) -> int:
    """Connections stay open and say nothing any more, until the clients' patience ends."""
    silenced = stage.redis_proxy.silence(0.5)
    await stage.pause(8, 11)
    return silenced


def to_redis(stage: Stage) -> Proxy:
    return stage.redis_proxy


def to_mongodb(stage: Stage) -> Proxy:
    return stage.mongo_proxy
