"""A person to be erased from one shard, an eraser whose clock is ours, and a search through all that is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from chaos.search import in_mongodb, in_redis, names
from one_shard import HOUR, HOUR_MS, WINDOWING, OneShard, segment
from pymongo.asynchronous.database import AsyncDatabase

from streamproc.core.erasures import Erasure, Pass, State, numbers
from streamproc.core.windows import WindowKey
from streamproc.demo.oracle import Difference
from streamproc.roles.eraser import ErasePolicy, Eraser, Layer
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.mongo.erasures import ErasureStore, MeasurementErasure
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.redis.erasure import ShardErasure

VISIBILITY_MS = 60_000
#: The hour after the one that erasures of these tests cover.
LATER = HOUR + timedelta(hours=1)


class Clock:
    """Redis' time as the eraser sees it: in the middle of HOUR, so that LATER is not covered."""

    def __init__(self) -> None:
        self.now_ms = int((HOUR + timedelta(minutes=30)).timestamp() * 1000)


class _ShardErasure(ShardErasure):
    def __init__(self, shard: OneShard, clock: Clock) -> None:
        super().__init__(shard.shard, WINDOWING)
        self._clock = clock

    async def now_ms(self) -> int:
        return self._clock.now_ms


class Paused(MeasurementStore):
    """Stops before or after an insert, until it is let go on."""

    def __init__(self, shard: OneShard, *, after: bool, then: Callable[[], None] = lambda: None) -> None:
        super().__init__(shard.database)
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()
        self._after, self._then = after, then

    async def insert(self, documents: Any) -> Any:
        if self._after:
            refused = await super().insert(documents)
        self.arrived.set()
        await self.go_on.wait()
        if not self._after:
            refused = await super().insert(documents)
        self._then()
        return refused


class Erasing:
    """Whoever erases `user` from a shard."""

    def __init__(self, shard: OneShard, user: str = "dana") -> None:
        self.shard = shard
        self.user = user
        self.clock = Clock()
        key = shard.shard.erasure_key
        assert key is not None
        self.key = key
        self.layer = _ShardErasure(shard, self.clock)
        self.measurements = MeasurementErasure(shard.measurements)
        self.erasures = ErasureStore(shard.database)
        self.eraser = self.with_stores()

    def with_stores(
        self,
        layer: Any = None,
        measurements: Any = None,
        erasures: Any = None,
        others: Sequence[ShardErasure] = (),
        beside: Sequence[Layer] = (),
    ) -> Eraser:
        """An eraser, some of whose stores are others. `others`: further shards; `beside`: layers beside the shards."""
        return Eraser(
            [layer or self.layer, *others],
            [measurements or self.measurements, *beside],
            erasures or self.erasures,
            self.key,
            WINDOWING,
            self.shard.metrics,
            ErasePolicy(flush_visibility_ms=VISIBILITY_MS),
        )

    # Acting

    def add(self, *names: str, session: str = "s-1", start: datetime = HOUR, **fields: Any) -> list[str]:
        """Add entries of the person. The oracle hears nothing of them."""
        at = start + timedelta(minutes=5)
        events = [segment(name, session, **{"user_id": self.user, "received_at": at, **fields}) for name in names]
        return [self.add_raw(orjson.dumps(event)) for event in events]

    def add_raw(self, payload: bytes) -> str:
        entry_id: bytes = self.shard.redis.xadd(self.shard.keys.stream, {"data": payload})
        return entry_id.decode()

    async def erase(self) -> Erasure:
        """Both passes."""
        return await self.finish(await self.eraser.request(self.user))

    async def finish(self, erasure: Erasure) -> Erasure:
        """Both passes of what is asked for."""
        erasure = await self.eraser.advance(erasure)
        self.clock.now_ms += VISIBILITY_MS
        erasure = await self.eraser.advance(erasure)
        assert erasure.state is State.COMPLETE
        return erasure

    async def flush_all(self) -> None:
        while await self.shard.flusher().run_once():
            pass

    # Looking

    def window(self, session: str = "s-1", start: datetime = HOUR) -> WindowKey:
        return WindowKey(int(start.timestamp()) * 1000, "kan-11", session, self.user)

    def segments(self, session: str = "s-1", start: datetime = HOUR) -> list[str]:
        name = WINDOWING.name(self.window(session, start))
        return sorted(one.decode() for one in self.shard.redis.hkeys(self.shard.keys.window(name).segments))

    async def revisions(self, start: datetime = HOUR) -> list[int]:
        """Of what is stored of the person's windows of that hour."""
        query = {"metadata.user_id": self.user, "metadata.hour": start}
        return sorted([one["metadata"]["revision"] async for one in self.shard.database[COLLECTION].find(query)])

    async def ledger(self) -> dict[str, int]:
        """The outcomes that are not 0; and it balances."""
        terms = (await self.shard.seen()).ledger
        assert terms.imbalance() == 0
        names = ("counted", "duplicates", "dead_lettered", "erased", "lost", "pending", "undelivered")
        return {name: number for name in names if (number := getattr(terms, name))}

    async def others(self) -> list[Difference]:
        """Where what is stored of all others is not what was published."""
        found = [one async for one in self.shard.database[COLLECTION].find({"metadata.user_id": {"$ne": self.user}})]
        return self.shard.oracle.compare(found)

    async def traces(self) -> list[bytes]:
        """Everything stored in which the person's id can be found."""
        return await traces(self.user, self.shard.redis, self.shard.database)


async def traces(user: str, redis: Any, database: AsyncDatabase[dict[str, Any]]) -> list[bytes]:
    """Every key, value and document in which a user's id can be found, in any of its spellings."""
    collections = await database.list_collection_names()
    assert {COLLECTION, f"system.buckets.{COLLECTION}"} <= set(collections)
    stored = [one for _, one in in_redis(redis)] + [one async for _, one in in_mongodb(database)]
    return [one for one in stored if names(user, one)]


def found_again(erasure: Erasure) -> int:
    """How much had come back, by its receipt."""
    layers = erasure.tallies.get(Pass.AGAIN, {})
    return sum(sum(numbers(tally).values()) for tally in layers.values())


__all__ = ["HOUR", "HOUR_MS", "LATER", "VISIBILITY_MS", "Erasing", "Paused", "found_again", "traces"]
