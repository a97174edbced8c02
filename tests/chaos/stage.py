"""What a round plays on: servers, a proxy before each, workers, publishers, and the truth about what was published."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from redis.asyncio import Redis

from streamproc.app.settings import PREFIX
from streamproc.demo import publishing
from streamproc.demo.oracle import Oracle
from streamproc.demo.simulation import Shares, Simulated, Simulation
from streamproc.demo.stage import Worker, settings_of
from streamproc.embedded import EmbeddedServer, start_mongod, start_valkey
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import Survey, survey

from .proxy import Proxy
from .scene import SETTINGS, Scene
from .survivors import Survivors

_SHARES: Final = Shares(late=0.05, duplicate=0.05)
_SESSIONS, _CHANNELS = 30, 8
# Publishers outlast every fault, so that nothing published stays in doubt.
_RETRY_S: Final = 120.0
_PATIENCE_S: Final = 20.0
_LOOK_S: Final = 0.02


class Stage:
    """Servers, proxies and workers of one round. A context manager.

    Attributes:
        redis: the server that publishers and workers are sent to now.
        workers: those that ought to be running.
        oracle: what was published, confirmed and is to be counted.
        survivors: what was published, and what Redis forgot.
    """

    def __init__(self, scene: Scene, seed: int, rng: random.Random) -> None:
        self.scene = scene
        self.rng = rng
        self.troubles: list[str] = []
        self.workers: list[Worker] = []
        self._ended: list[Worker] = []
        self._seed = seed
        self._simulations = 0
        self._clients: dict[str, Redis] = {}
        self.redis_servers: list[EmbeddedServer] = []

    async def __aenter__(self) -> Self:
        self.redis = self.start_redis()
        self.mongod = start_mongod(replica_set=self.scene.replica_set)
        self.redis_proxy = await Proxy(self.redis.port, self.rng).__aenter__()
        self.mongo_proxy = await Proxy(self.mongod.port, self.rng).__aenter__()
        self.variables = self._variables(f"redis://127.0.0.1:{self.redis_proxy.port}/0", self._proxied_mongodb())
        self.settings = settings_of(self.variables)
        self.oracle = Oracle(self.settings.window_seconds)
        self.survivors = Survivors(self.settings.windowing, f"{self.settings.prefix}:{{0}}:")
        direct = f"mongodb://127.0.0.1:{self.mongod.port}/?directConnection=true"
        self.mongo_client = mongo.connect(direct, app_name="chaos")
        await asyncio.gather(*(self.start_worker() for _ in range(self.scene.workers)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(self.kill(worker) for worker in list(self.workers)))
        for worker in self._ended:
            await worker.stop()  # removes its log
        for client in self._clients.values():
            await client.aclose()
        await self.mongo_client.close()
        await self.redis_proxy.__aexit__()
        await self.mongo_proxy.__aexit__()
        for server in (*self.redis_servers, self.mongod):
            await asyncio.to_thread(server.stop)

    def _variables(self, redis_url: str, mongodb_url: str) -> dict[str, str]:
        settings = {**SETTINGS, **self.scene.settings, "REDIS_URL": redis_url, "MONGODB_URL": mongodb_url}
        return {f"{PREFIX}{name}": value for name, value in settings.items()}

    def _proxied_mongodb(self) -> str:
        return self.mongod.url if self.scene.replica_set else f"mongodb://127.0.0.1:{self.mongo_proxy.port}/"

    def start_redis(self) -> EmbeddedServer:
        """A Redis that keeps what it acknowledged through `kill -9`."""
        server = start_valkey(persistent=True)
        self.redis_servers.append(server)
        return server

    # Workers

    async def start_worker(self, **variables: str) -> Worker:
        """Start one more, and wait until it serves. `variables`: of its environment, beside the usual."""
        worker = Worker(len(self.workers) + len(self._ended) + 1, {**self.variables, **variables})
        await worker.start()
        self.workers.append(worker)
        return worker

    async def kill(self, worker: Worker) -> None:
        """`kill -9`. One that has ended by itself is trouble."""
        self._dismiss(worker)
        if worker.ended is None:
            os.kill(worker.pid, signal.SIGKILL)
            await _end_of(worker)

    async def stop(self, worker: Worker) -> None:
        """SIGTERM. One that does not leave in order is trouble."""
        self._dismiss(worker)
        if worker.ended is None:
            os.kill(worker.pid, signal.SIGTERM)
            await _end_of(worker)
            if worker.ended:
                self.troubles.append(f"worker {worker.number} left with code {worker.ended}:\n{worker.log_tail(30)}")

    @property
    def all_workers(self) -> list[Worker]:
        """Those that have ended among them."""
        return [*self.workers, *self._ended]

    def _dismiss(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self._ended.append(worker)
        if worker.ended is not None:
            self.troubles.append(f"worker {worker.number} ended ({worker.ended}):\n{worker.log_tail(30)}")

    def look_after_workers(self) -> None:
        """Workers that have ended by themselves are trouble."""
        for worker in [one for one in self.workers if one.ended is not None]:
            self._dismiss(worker)

    # Publishing

    @asynccontextmanager
    async def load(self, rate: float) -> AsyncIterator[None]:
        """Publish as long as the context lasts; at its end, everything published is confirmed."""
        until = asyncio.Event()
        publishing_ = asyncio.create_task(
            publishing.run(
                self._simulation(),
                self.proxied_client,
                rate=rate,
                until=until,
                on_published=self._record,
                prefix=self.settings.prefix,
                retry_for_s=_RETRY_S,
            )
        )
        try:
            yield
        finally:
            until.set()
            await publishing_

    def _simulation(self) -> Simulation:
        windowing = self.settings.windowing
        self._simulations += 1  # each has sessions of its own
        return Simulation(
            self._seed * 100 + self._simulations,
            sessions=_SESSIONS,
            channels=_CHANNELS,
            window_ms=windowing.length_ms,
            grace_ms=windowing.grace_ms,
            horizon_ms=windowing.horizon_ms,
            future_ms=windowing.future_ms,
            shares=_SHARES,
        )

    def _record(self, batch: Sequence[Simulated]) -> None:
        for one in batch:
            self.oracle.record(one.kind, one.event)
            self.survivors.record(one.kind, one.event)

    # Looking, past the proxies

    @property
    def redis_client(self) -> Redis:
        return self._client(self.redis.url)

    @property
    def proxied_client(self) -> Redis:
        """As publishers and workers reach it."""
        return self._client(f"redis://127.0.0.1:{self.redis_proxy.port}/0")

    def client_of(self, server: EmbeddedServer) -> Redis:
        return self._client(server.url)

    def _client(self, url: str) -> Redis:
        if url not in self._clients:
            self._clients[url] = connect(url)
        return self._clients[url]

    async def survey(self) -> Survey | None:
        return await survey(Shard(self.redis_client, prefix=self.settings.prefix, group=self.settings.group))

    async def documents(self) -> list[dict[str, Any]]:
        collection = self.mongo_client[self.settings.mongodb_database][COLLECTION]
        return [document async for document in collection.find({}, {"_id": 0})]

    async def command(self, *words: str) -> tuple[int, bytes, str]:
        """Run a command of streamproc, past the proxies. Returns its exit code, what it printed, and what it told."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamproc", *words),
            env={**os.environ, **self._variables(self.redis.url, self.mongod.url)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, told = await process.communicate()
        return process.returncode or 0, printed, told.decode()

    async def audit(self) -> tuple[int, dict[str, Any]]:
        """`streamproc audit --json`: its exit code, and what it prints."""
        code, printed, told = await self.command("audit", "--json")
        if not printed:
            raise RuntimeError(f"streamproc audit printed nothing: {told}")
        return code, json.loads(printed)

    async def pause(self, at_least_s: float, at_most_s: float) -> None:
        await asyncio.sleep(self.rng.uniform(at_least_s, at_most_s))


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until something holds that must come to hold. Raises TimeoutError."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while not await holds():
        if time.monotonic() > give_up_s:
            raise TimeoutError(f"waited {_PATIENCE_S:g} s in vain for {what}")
        await asyncio.sleep(_LOOK_S)


async def _end_of(worker: Worker) -> None:
    async def has_ended() -> bool:
        return worker.ended is not None

    await until(has_ended, f"worker {worker.number} to end")


async def kill_and_restart(stage: Stage, server: EmbeddedServer) -> None:
    """`kill -9`, and start again on the same port and disk a moment later."""
    os.kill(server.pid, signal.SIGKILL)
    await stage.pause(0, 1.5)
    await asyncio.to_thread(server.restart)
