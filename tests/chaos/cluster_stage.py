"""What faults of a cluster are played on: the cluster, workers, both buffered publishers, and the truth about them."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Self

from redis.exceptions import RedisError

from streamproc import BlockingBufferedSegmentPublisher, BufferedSegmentPublisher
from streamproc.app.settings import PREFIX
from streamproc.demo.oracle import Difference, Oracle
from streamproc.demo.simulation import Shares, Simulated, Simulation
from streamproc.demo.stage import Worker, settings_of
from streamproc.embedded import start_mongod
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import Survey, survey

from .scene import SETTINGS
from .valkey_cluster import Node, ValkeyCluster, valkey_cluster

SHARDS: Final = 4
_WORKERS: Final = 2
#: Of each publisher, a second.
_RATE: Final = 60
_TICK_S: Final = 0.1
#: What a publisher can send, and nothing that it would refuse.
_SHARES: Final = Shares(late=0.05, duplicate=0.05, malformed=0, too_late=0, future=0, flat_fields=0, unknown_fields=0)
#: Publishers outlast every fault, so that nothing published stays in doubt.
_PUBLISHER: Final[dict[str, Any]] = {
    "shards": SHARDS,
    "cluster": True,
    "replicas": 1,
    "replica_timeout_ms": 200,
    "wait_up_to_s": 120.0,
    "close_within_s": 60.0,
}
_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.1


class ClusterStage:
    """A cluster, a MongoDB, workers, and the truth about what was published. A context manager.

    Attributes:
        cluster: three masters, each with a replica.
        oracle: what was published.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self._seed = seed
        self._simulations = 0
        self._stack = AsyncExitStack()
        self.workers: list[Worker] = []

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.cluster: ValkeyCluster = await stack.enter_async_context(valkey_cluster())
            mongod = stack.enter_context(start_mongod())
            own = {"REDIS_URL": self.cluster.url, "REDIS_CLUSTER": "true", "SHARDS": str(SHARDS)}
            settings = {**SETTINGS, **own, "MONGODB_URL": mongod.url}
            self.variables = {f"{PREFIX}{name}": value for name, value in settings.items()}
            self.settings = settings_of(self.variables)
            self.oracle = Oracle(self.settings.window_seconds)
            redis = stack.push_async_exit(connect(self.cluster.url, cluster=True))
            self.shards = [Shard(redis, number=number) for number in range(SHARDS)]
            self._mongo = mongo.connect(mongod.url, app_name="chaos")
            stack.push_async_callback(self._mongo.close)
            for number in range(_WORKERS):
                self.workers.append(Worker(number + 1, self.variables))
                stack.push_async_callback(self.workers[-1].stop)
            await asyncio.gather(*(worker.start() for worker in self.workers))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # Publishing

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Publish as long as the context lasts; at its end, everything published is confirmed by a replica."""
        until_ = asyncio.Event()
        publishing = asyncio.gather(self._publish(until_), self._publish_by_thread(until_))
        try:
            yield
        except BaseException:
            until_.set()
            await asyncio.gather(publishing, return_exceptions=True)  # what they raise comes of it
            raise
        until_.set()
        await publishing

    async def _publish(self, until_: asyncio.Event) -> None:
        async with BufferedSegmentPublisher(self.cluster.url, **_PUBLISHER) as publisher:
            async for batch in self._batches(until_):
                for one in batch:
                    await publisher.put(one.event)

    async def _publish_by_thread(self, until_: asyncio.Event) -> None:
        publisher = BlockingBufferedSegmentPublisher(self.cluster.url, **_PUBLISHER)

        def put(batch: list[Simulated]) -> None:
            for one in batch:
                publisher.put(one.event)

        async for batch in self._batches(until_):
            await asyncio.to_thread(put, batch)
        await asyncio.to_thread(publisher.close)

    async def _batches(self, until_: asyncio.Event) -> AsyncIterator[list[Simulated]]:
        """What is to be published next, some ten times a second. The oracle hears of it."""
        windowing = self.settings.windowing
        self._simulations += 1  # each has sessions of its own
        simulation = Simulation(
            self._seed * 100 + self._simulations,
            sessions=30,
            channels=8,
            window_ms=windowing.length_ms,
            grace_ms=windowing.grace_ms,
            horizon_ms=windowing.horizon_ms,
            future_ms=windowing.future_ms,
            shares=_SHARES,
        )
        while not until_.is_set():
            batch = list(simulation.batch(time.time_ns() // 1_000_000, int(_RATE * _TICK_S)))
            for one in batch:
                self.oracle.record(one.kind, one.event)
            yield batch
            await asyncio.sleep(_TICK_S)

    # Judging

    async def judge(self) -> list[str]:
        """Wait until nothing is under way and nothing differs, at most a minute. Returns what is wrong, for people."""
        give_up_s = time.monotonic() + _PATIENCE_S
        while (under_way := await self._under_way()) or await self.differences():
            if time.monotonic() > give_up_s:
                break
            await asyncio.sleep(_LOOK_S)
        wrong = [f"not settled: {under_way}"] if under_way else []
        wrong += [str(one) for one in await self.differences()][:10]
        wrong += [f"worker {one.number} ended ({one.ended})" for one in self.workers if one.ended is not None]
        wrong += await self._audit()
        return wrong + [f"worker {one.number}:\n{one.log_tail(150)}" for one in self.workers if wrong]

    async def differences(self) -> list[Difference]:
        collection = self._mongo[self.settings.mongodb_database][COLLECTION]
        return self.oracle.compare([document async for document in collection.find({}, {"_id": 0})])

    async def _under_way(self) -> str:
        try:
            seen = [await survey(shard) for shard in self.shards]
        except RedisError as error:
            return str(error)
        return ", ".join(f"shard {number}: {one}" for number, one in enumerate(seen) if not _is_settled(one))

    async def _audit(self) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamproc", "audit", "--json"),
            env={**os.environ, **self.variables},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, said = await process.communicate()
        return [] if process.returncode == 0 else [f"audit: {printed.decode() or said.decode()}"]

    # What faults need

    def a_shard(self) -> str:
        """The stream of any shard."""
        return self.rng.choice(self.shards).keys.stream

    def another_master(self, stream: str) -> Node:
        """Any but the one that has this stream."""
        this = self.cluster.master_of(stream)
        return self.rng.choice([node for node in self.cluster.nodes if node.is_master and node is not this])

    async def pause(self, at_least_s: float, at_most_s: float) -> None:
        await asyncio.sleep(self.rng.uniform(at_least_s, at_most_s))


def _is_settled(seen: Survey | None) -> bool:
    return seen is not None and not (seen.pending or seen.lag_entries or seen.open or seen.taken)
