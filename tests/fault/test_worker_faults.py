"""Worker processes on real servers that are killed, frozen, emptied and away: every hour ends exact.

The servers are this file's own, and persistent: what they acknowledged survives `kill -9`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from pods import Pods, get, kill, pods, troubles, until

from streamproc.demo.simulation import Shares
from streamproc.demo.stage import Worker
from streamproc.embedded import EmbeddedServer, start_mongod, start_valkey

#: One line when trouble begins and one when it ends, for each server and each activity that meets it.
FEW_LINES = 10
NOTHING_LATE = Shares(late=0, duplicate=0.05)


@pytest.fixture(scope="module")
def redis_that_dies() -> Iterator[EmbeddedServer]:
    with start_valkey(persistent=True) as server:
        yield server


@pytest.fixture(scope="module")
def mongod_that_dies() -> Iterator[EmbeddedServer]:
    with start_mongod() as server:
        yield server


@pytest.fixture
async def system(redis_that_dies: EmbeddedServer, mongod_that_dies: EmbeddedServer) -> AsyncIterator[Pods]:
    async with pods(redis_that_dies.url, mongod_that_dies.url) as one:
        try:
            yield one
        finally:
            for server in (redis_that_dies, mongod_that_dies):
                if is_dead(server):
                    await asyncio.to_thread(server.restart)


def is_dead(server: EmbeddedServer) -> bool:
    try:
        os.kill(server.pid, 0)
    except ProcessLookupError:
        return True
    return False


def kill_server(server: EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)


async def restart(server: EmbeddedServer) -> None:
    await asyncio.to_thread(server.restart)


async def until_counted(system: Pods, more: int) -> None:
    """Until so many more segments have been counted: then the fault hits a system at work."""
    goal = await system.counted() + more

    async def reached() -> bool:
        return await system.counted() >= goal

    await until(reached, system.logs)


async def until_trouble(worker: Worker, server: str) -> None:
    """Until /readyz names the server that is away."""

    async def named() -> bool:
        status, body = await get(worker, "/readyz")
        return status == 503 and f'"{server} at ' in body and "not answered yet" not in body

    await until(named, lambda: worker.log_tail(60))


async def until_ready(worker: Worker) -> None:
    async def ready() -> bool:
        return (await get(worker, "/readyz"))[0] == 200

    await until(ready, lambda: worker.log_tail(60))


def assert_said_once(system: Pods) -> None:
    for worker in system.workers:
        said = troubles(worker)
        assert len(said) <= FEW_LINES, "\n".join(said)
        assert not [line for line in said if "Traceback" in line]


async def test_redis_away_at_the_start_and_killed_under_load(system: Pods, redis_that_dies: EmbeddedServer) -> None:
    kill_server(redis_that_dies)
    workers = [await system.start() for _ in range(2)]
    for worker in workers:
        await until_trouble(worker, "redis")
    await restart(redis_that_dies)
    for worker in workers:
        await until_ready(worker)
    async with system.load():
        await until_counted(system, 300)
        kill_server(redis_that_dies)
        for worker in workers:
            await until_trouble(worker, "redis")
        await restart(redis_that_dies)
        await until_counted(system, 300)
    await system.assert_exact()
    for worker in workers:
        await until_ready(worker)
    assert_said_once(system)


async def test_mongodb_away_at_the_start_and_killed_over_several_windows(
    system: Pods, mongod_that_dies: EmbeddedServer
) -> None:
    kill_server(mongod_that_dies)
    worker = await system.start()

    async def windows_wait() -> bool:
        """Several windows have closed meanwhile: their segments are counted, and nobody can take them."""
        seen = await system.survey()
        return seen is not None and seen.open > 60 and seen.taken == 0

    async with system.load():
        await until_trouble(worker, "mongodb")
        await until(windows_wait, system.logs)
        await restart(mongod_that_dies)
        await until_ready(worker)

        async def stored() -> bool:
            return len(await system.documents()) > 0

        await until(stored, system.logs)
        kill_server(mongod_that_dies)
        await until_trouble(worker, "mongodb")
        await until_counted(system, 600)
        await until(windows_wait, system.logs)
        await restart(mongod_that_dies)
    await system.assert_exact()
    assert_said_once(system)


async def test_a_redis_that_refuses_writes_is_named_and_worked_with_again(system: Pods) -> None:
    """A primary that was demoted, and promoted again. The stream is idle: readiness must not wait for an entry."""
    worker = await system.start()
    async with system.load():
        await until_counted(system, 100)
    await system.settle()
    system.redis.replicaof("127.0.0.1", "1")

    async def named() -> bool:
        status, body = await get(worker, "/readyz")
        return status == 503 and "counting of shard 0" in body and "flushing of shard 0" in body

    await until(named, system.logs)
    system.redis.replicaof("NO", "ONE")
    await until_ready(worker)
    async with system.load(seed=2):
        await until_counted(system, 100)
    await system.assert_exact()
    assert_said_once(system)


async def test_workers_killed_under_load_are_replaced_by_the_others(system: Pods) -> None:
    await system.start()
    async with system.load(800):
        for _ in range(2):
            victim = await system.start()
            await until_ready(victim)
            await until_counted(system, 400)
            await kill(victim)
        await until_counted(system, 400)
    await system.assert_exact()


async def test_the_only_worker_killed_is_replaced_by_a_new_one(system: Pods) -> None:
    victim = await system.start()
    async with system.load(800):
        await until_counted(system, 800)
        await kill(victim)
    await system.start()
    await system.assert_exact()


async def test_a_worker_frozen_beyond_the_claim_time_wakes_as_a_zombie_and_changes_nothing(system: Pods) -> None:
    frozen, other = await system.start(), await system.start()
    async with system.load(800):
        await until_ready(frozen)
        await until_ready(other)
        await until_counted(system, 400)
        os.kill(frozen.pid, signal.SIGSTOP)
        await until_counted(system, 1200)

        async def taken_over() -> bool:
            """What the frozen one held is no longer its own, and its windows have gone back."""
            info = system.redis.xinfo_consumers(system.keys.stream, system.settings.group)
            idle = [one for one in info if one["idle"] > 2 * system.settings.claim_idle_seconds * 1000]
            return len(idle) == 1 and idle[0]["pending"] == 0

        await until(taken_over, system.logs)
        os.kill(frozen.pid, signal.SIGCONT)
        await until_counted(system, 400)
    await system.assert_exact()
    await until_ready(frozen)
    assert_said_once(system)


async def test_a_destroyed_group_is_made_again_and_everything_read_again(system: Pods) -> None:
    await system.start()
    async with system.load():
        await until_counted(system, 300)
        system.redis.xgroup_destroy(system.keys.stream, system.settings.group)

        async def new_epoch() -> bool:
            seen = await system.survey()
            return seen is not None and seen.epoch == 2

        await until(new_epoch, system.logs)
    seen = await system.assert_exact()
    ledger = system.redis.hgetall(system.keys.ledger)
    assert ledger[b"epoch_reason"] == b"group missing"
    assert b"epoch:1" in ledger
    assert seen.ledger.duplicates > 0
    assert_said_once(system)


async def test_a_deleted_stream_and_an_emptied_redis_begin_a_new_epoch(system: Pods) -> None:
    """What was stored stays; what comes afterwards counts."""
    worker = await system.start()
    async with system.load(shares=NOTHING_LATE):
        await until_counted(system, 100)
    await system.assert_exact()
    system.redis.delete(system.keys.stream)
    async with system.load(seed=2, shares=NOTHING_LATE):
        await until_counted(system, 100)
    seen = await system.assert_exact()
    assert (seen.epoch, system.redis.hget(system.keys.ledger, "epoch_reason")) == (2, b"stream missing")
    layout = system.redis.hgetall(system.keys.layout)
    system.redis.flushall()
    async with system.load(seed=3, shares=NOTHING_LATE):
        await until_counted(system, 100)
    seen = await system.assert_exact()
    assert (seen.epoch, system.redis.hgetall(system.keys.layout)) == (1, layout)
    await until_ready(worker)
    assert_said_once(system)
