"""The overview: one look at all that there is, whichever server is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from streamproc import __version__
from streamproc.answers.health import judged
from streamproc.answers.overview_live import live_of
from streamproc.answers.overview_redis import LETTERS, PATIENCE_S, SLOW, at, look
from streamproc.answers.overview_results import (
    DeadLetters,
    FlushState,
    Overview,
    ServerState,
    SettingsShown,
    ShardState,
)
from streamproc.core.failures import Explanation
from streamproc.core.windows import Windowing
from streamproc.stores.mongo import failures
from streamproc.stores.redis.presence import PodReport
from streamproc.stores.redis.shard import Shard


class SettingsRead(Protocol):
    """What an overview reads of the settings."""

    @property
    def prefix(self) -> str: ...
    @property
    def shards(self) -> int: ...
    @property
    def claim_idle_seconds(self) -> float: ...
    @property
    def windowing(self) -> Windowing: ...


class Servers(Protocol):
    """What an overview looks through: `streamproc.app.connections.Connections` is one."""

    @property
    def settings(self) -> SettingsRead: ...
    @property
    def redis_address(self) -> str: ...
    @property
    def mongodb_address(self) -> str: ...
    @property
    def shards(self) -> list[Shard]: ...
    async def check_layout(self) -> None: ...
    async def check_mongodb(self) -> None: ...


async def overview(servers: Servers) -> Overview:
    """Look at everything once. A server that is away, slow or refuses is named in the answer; nothing is raised."""
    seen, mongodb = await asyncio.gather(look(servers), _look_for_mongodb(servers))
    reports = [pod.report for pod in seen.pods]
    newest = sorted(seen.letters, key=lambda letter: letter.at, reverse=True)[:LETTERS]
    return judged(
        Overview(
            at=at(seen.now_ms),
            version=__version__,
            verdict="healthy",
            troubles=seen.troubles,
            redis=_server(servers.redis_address, seen.failed),
            mongodb=_server(servers.mongodb_address, mongodb),
            settings=_settings(servers.settings),
            workers=seen.workers,
            shards=seen.shards,
            missing_shards=seen.missing,
            flush=_flush(reports, seen.shards),
            dead_letters=DeadLetters(kept=sum(shard.dead_letters for shard in seen.shards), newest=newest),
            live=live_of(reports, servers.settings.windowing.length_ms),
        )
    )


async def _look_for_mongodb(servers: Servers) -> Explanation | None:
    """Why it is away, or of no use to us; None where it lets us read."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await servers.check_mongodb()
    except TimeoutError:
        return SLOW
    except failures.FAILURES as error:
        return failures.explain(error)
    return None


def _server(address: str, failed: Explanation | None) -> ServerState:
    if failed is None:
        return ServerState(up=True, address=address)
    return ServerState(up=False, address=address, trouble=failed.cause, remedy=failed.remedy)


def _settings(settings: SettingsRead) -> SettingsShown:
    return SettingsShown(
        window_seconds=settings.windowing.length_ms / 1000,
        grace_seconds=settings.windowing.grace_ms / 1000,
        claim_idle_seconds=settings.claim_idle_seconds,
        shards=settings.shards,
        prefix=settings.prefix,
    )


def _flush(reports: Sequence[PodReport], shards: Sequence[ShardState]) -> FlushState:
    due = sum(shard.due for shard in shards)
    last = max(((one.last_flush_ms, one.last_flush_windows) for one in reports if one.last_flush_ms), default=None)
    if last is None:
        return FlushState(due=due)
    return FlushState(last_at=at(last[0]), last_windows=last[1], due=due)
