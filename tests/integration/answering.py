"""A service that is asked about one shard, and somebody who acts between two of its looks at the stores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Final

from one_shard import WINDOWING, OneShard
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from streamproc import DubbingMetricsService
from streamproc.answers.results import Figures
from streamproc.core.windows import Windowing

Act = Callable[[], Awaitable[Any]]
Rows = dict[str, Any]


def service(
    client: Any, database: AsyncDatabase[Any], *, shards: int = 1, windowing: Windowing = WINDOWING
) -> DubbingMetricsService:
    """As another program would make it: of its own clients, and of what it knows about the workers."""
    settings = SimpleNamespace(prefix="dubbing", shards=shards, group="streamproc", windowing=windowing)
    return DubbingMetricsService(client, database, settings)


def service_of(shard: OneShard) -> DubbingMetricsService:
    return service(shard.client, shard.database)


async def by_hour(asked: DubbingMetricsService) -> list[Figures]:
    return list((await asked.get_hourly_metrics("kan-11")).hours)


async def by_day(asked: DubbingMetricsService) -> list[Figures]:
    return list((await asked.get_daily_trends("kan-11")).days)


async def of_user(asked: DubbingMetricsService) -> list[Figures]:
    return list((await asked.get_user_activity("dana")).days)


async def of_session(asked: DubbingMetricsService) -> list[Figures]:
    return list((await asked.get_session_hours("s-1")).hours)


#: Every question about one window of `one_shard`: its rows.
QUESTIONS: Final = {"hourly": by_hour, "trends": by_day, "user": of_user, "session": of_session}


class Meanwhile:
    """Acts once, before the nth look of a service at a store; never, if it looks less often."""

    def __init__(self, asked: DubbingMetricsService, nth: int, act: Act) -> None:
        self.acted = False
        self._left = nth
        self._act = act
        for reader in asked._readers:
            for name in ("_stands", "_fetch"):
                setattr(reader, name, self._before(getattr(reader, name)))
        measurements: Any = asked._seam.measurements
        measurements._find = self._before(measurements._find)

    def _before(self, call: Any) -> Any:
        if call.__name__ == "_fetch":  # an asynchronous generator

            async def looking_through(*args: Any) -> Any:
                await self._step()
                async for one in call(*args):
                    yield one

            return looking_through

        async def looking(*args: Any) -> Any:
            await self._step()
            return await call(*args)

        return looking

    async def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.acted = True
            await self._act()


#: Clients as other programs have them.
CLIENTS: Final[dict[str, dict[str, Any]]] = {
    "as it comes": {},
    "decoding": {"decode_responses": True},
    "RESP3": {"protocol": 3},
    "RESP3, decoding": {"protocol": 3, "decode_responses": True},
}


def client(kind: str, url: str) -> Any:
    return Redis.from_url(url, **CLIENTS[kind])
