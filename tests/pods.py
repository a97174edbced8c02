"""Worker processes on real servers, a load that an oracle hears of, and the comparison at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from uuid import uuid4

import orjson
import redis
from prometheus_client.parser import text_string_to_metric_families

from streamproc.app.settings import PREFIX
from streamproc.demo import publishing
from streamproc.demo.oracle import Difference, Kind, Oracle
from streamproc.demo.simulation import Shares, Simulated, Simulation
from streamproc.demo.stage import Worker, settings_of
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import Survey, survey

#: As short as a laden machine of two cores allows.
SHORT: Final = {
    "WINDOW_SECONDS": "2",
    "GRACE_SECONDS": "0.5",
    "LATE_QUIET_SECONDS": "0.5",
    "LATE_HORIZON_SECONDS": "300",
    "CLAIM_IDLE_SECONDS": "1",
    "FLUSH_VISIBILITY_SECONDS": "2",
    "COMMIT_INTERVAL_SECONDS": "0.1",
}
PATIENCE_S: Final = 40.0
#: A command takes a second or two, but on a machine that is used by others much longer; below the limit of a test.
_COMMAND_S: Final = 90.0
_LOOK_S: Final = 0.05


class Pods:
    """One system: settings of its own on given servers, its workers, what was published to it and what it stored.

    Args:
        settings: of the workers, beside SHORT and the servers; in the form of environment variables without prefix.
    """

    def __init__(self, redis_url: str, mongodb_url: str, **settings: str) -> None:
        suffix = uuid4().hex[:8]
        servers = {"REDIS_URL": redis_url, "MONGODB_URL": mongodb_url}
        own = {"PREFIX": f"test-{suffix}", "MONGODB_DATABASE": f"pods_{suffix}"}
        self.variables = {f"{PREFIX}{name}": value for name, value in {**SHORT, **servers, **own, **settings}.items()}
        self.settings = settings_of(self.variables)
        self.redis: Any = redis.Redis.from_url(redis_url)
        self._client = connect(redis_url, cluster=self.settings.redis_cluster)
        self._mongo = mongo.connect(mongodb_url, app_name="tests")
        self.database = self._mongo[self.settings.mongodb_database]
        self.shards = [
            Shard(self._client, number=number, prefix=self.settings.prefix, group=self.settings.group)
            for number in range(self.settings.shards)
        ]
        self.shard = self.shards[0]
        self.keys = self.shard.keys
        self.oracle = Oracle(self.settings.window_seconds)
        self.workers: list[Worker] = []

    async def close(self) -> None:
        for worker in self.workers:
            await kill(worker)
            await worker.stop()
        self.redis.close()
        await self._client.aclose()
        await self._mongo.close()

    # Acting

    async def start(self, **variables: str) -> Worker:
        """Start a worker, and wait until it serves."""
        own = {f"{PREFIX}{name}": value for name, value in variables.items()}
        worker = Worker(len(self.workers) + 1, {**self.variables, **own})
        self.workers.append(worker)
        await worker.start()
        return worker

    def add(self, *fields: bytes | str) -> str:
        """Add one entry, as it is."""
        entry_id: bytes = self.redis.execute_command("XADD", self.keys.stream, "*", *fields)
        return entry_id.decode()

    def publish(self, *segments: dict[str, Any]) -> None:
        """Publish well-formed segments."""
        for one in segments:
            self.add("data", orjson.dumps(one))
            self.oracle.record(Kind.GOOD, one)

    @asynccontextmanager
    async def load(self, rate: float = 400.0, *, seed: int = 1, shares: Shares | None = None) -> AsyncIterator[None]:
        """Publish a simulation as long as the context lasts."""
        windowing, until = self.settings.windowing, asyncio.Event()
        simulation = Simulation(
            seed,
            sessions=30,
            channels=8,
            window_ms=windowing.length_ms,
            grace_ms=windowing.grace_ms,
            horizon_ms=windowing.horizon_ms,
            future_ms=windowing.future_ms,
            shares=shares or Shares(late=0.05, duplicate=0.05),
        )
        running = publishing.run(
            simulation,
            self._client,
            rate=rate,
            until=until,
            on_published=self._record,
            prefix=self.settings.prefix,
            shards=self.settings.shards,
        )
        task = asyncio.create_task(running)
        try:
            yield
        finally:
            until.set()
            await task

    def _record(self, batch: Sequence[Simulated]) -> None:
        for one in batch:
            self.oracle.record(one.kind, one.event)

    # Looking

    async def survey(self) -> Survey | None:
        return await survey(self.shard)

    async def surveys(self) -> list[Survey | None]:
        return [await survey(shard) for shard in self.shards]

    async def counted(self) -> int:
        return sum(seen.ledger.counted for seen in await self.surveys() if seen)

    async def documents(self) -> list[dict[str, Any]]:
        return [document async for document in self.database[COLLECTION].find()]

    def dead(self) -> list[dict[str, str]]:
        return [
            {name.decode(): value.decode(errors="replace") for name, value in fields.items()}
            for _, fields in self.redis.xrange(self.keys.dead)
        ]

    def consumers(self) -> list[str]:
        return [info["name"].decode() for info in self.redis.xinfo_consumers(self.keys.stream, self.settings.group)]

    async def settle(self) -> Survey:
        """Wait until all that was published has its outcome, and is stored. Returns the first shard's survey."""
        seen: list[Survey | None] = []

        async def settled() -> bool:
            nonlocal seen
            seen = await self.surveys()
            return all(one and not (one.pending or one.lag_entries or one.open or one.taken) for one in seen)

        await until(settled, lambda: f"not settled: {seen}\n{self.logs()}")
        assert seen[0] is not None
        return seen[0]

    async def differences(self) -> list[Difference]:
        return self.oracle.compare(await self.documents())

    async def assert_exact(self, *, balanced: bool = True) -> Survey:
        """Everything settles, every stored window is exact, and every entry is accounted for."""
        seen = await self.settle()
        assert self.oracle.segments > 0
        differences = await self.differences()
        assert differences == [], "\n".join(map(str, differences[:10])) + f"\n{self.logs()}"
        if balanced:
            ledgers = [one.ledger for one in await self.surveys() if one]
            assert [(ledger.imbalance(), ledger.lost) for ledger in ledgers] == [(0, 0)] * len(self.shards)
        return seen

    async def assert_exact_once_swept(self) -> Survey:
        """As `assert_exact`, where flushes were cut off or overtaken: what they left behind is the sweep's to remove.

        The workers need a short SWEEP_SECONDS.
        """
        await self.settle()

        async def swept() -> bool:
            return await self.differences() == []

        await until(swept, lambda: f"never swept\n{self.logs()}")
        return await self.assert_exact()

    def logs(self) -> str:
        return "\n".join(f"--- worker {worker.number}\n{worker.log_tail(60)}" for worker in self.workers)


@asynccontextmanager
async def pods(redis_url: str, mongodb_url: str, **settings: str) -> AsyncIterator[Pods]:
    system = Pods(redis_url, mongodb_url, **settings)
    try:
        yield system
    finally:
        await system.close()


async def until(
    holds: Callable[[], Awaitable[bool]],
    otherwise: Callable[[], str] = lambda: "waited in vain",
    patience_s: float = PATIENCE_S,
) -> None:
    """Wait until something holds that must come to hold."""
    give_up_s = time.monotonic() + patience_s
    while not await holds():
        assert time.monotonic() < give_up_s, otherwise()
        await asyncio.sleep(_LOOK_S)


async def kill(worker: Worker) -> None:
    """End a worker like a power cut; a stopped one too. Fine on one that has ended or never started."""
    if worker.pid and worker.ended is None:
        os.kill(worker.pid, signal.SIGKILL)
        await until(partial(_has_ended, worker))


async def _has_ended(worker: Worker) -> bool:
    return worker.ended is not None


async def leave(worker: Worker) -> tuple[int, str]:
    """SIGTERM. Returns the exit code, and what the worker said; fails if it is not gone within the promised 10 s."""
    os.kill(worker.pid, signal.SIGTERM)
    await until(partial(_has_ended, worker), lambda: f"still here after SIGTERM\n{worker.log_tail(60)}", patience_s=10)
    assert worker.ended is not None
    return worker.ended, worker.log_tail(10_000)


async def outcome(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    """What a command says on standard output and standard error until it ends.

    One that does not end is killed: what it leaves behind would fail another test than this.
    """
    try:
        return await asyncio.wait_for(process.communicate(), _COMMAND_S)
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise


async def get(worker: Worker, path: str) -> tuple[int, str]:
    """Status and body of a page."""

    def fetch() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(fetch)


async def metrics(worker: Worker) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples: (name, labels) -> value."""
    _, text = await get(worker, "/metrics")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def troubles(worker: Worker) -> list[str]:
    """The lines of a worker's log that are neither mere information nor about bad input."""
    lines = worker.log_tail(10_000).splitlines()
    return [line for line in lines if not (" INFO " in line or " bad input: " in line)]
