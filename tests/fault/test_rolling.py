"""What a Deployment does with workers under load: replaces them one by one, adds and removes them. No hour is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
from pods import Pods, get, leave, pods, troubles, until

from streamproc.demo.stage import Worker
from streamproc.embedded import EmbeddedServer

#: As a release may bring them: smaller commits, another form of the log.
NEXT_RELEASE = {"COMMIT_MAX_EVENTS": "100", "COMMIT_INTERVAL_SECONDS": "0.02", "LOG_FORMAT": "json"}


@pytest.fixture
async def system(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    async with pods(valkey.url, mongod.url, SWEEP_SECONDS="1") as one:
        yield one


async def until_counted(system: Pods, more: int) -> None:
    goal = await system.counted() + more

    async def reached() -> bool:
        return await system.counted() >= goal

    await until(reached, system.logs)


async def is_ready(worker: Worker) -> bool:
    return (await get(worker, "/readyz"))[0] == 200


async def add(system: Pods, **settings: str) -> Worker:
    """A pod more, and its readiness waited for, as a rolling update does (maxSurge 1, maxUnavailable 0)."""
    worker = await system.start(**settings)
    await until(partial(is_ready, worker), system.logs)
    return worker


async def remove(system: Pods, worker: Worker) -> None:
    """A pod less. It leaves in time, and with nothing in hand that others would have to wait for."""
    code, said = await leave(worker)
    assert code == 0, said
    assert len(system.consumers()) == len([one for one in system.workers if one.ended is None])


async def test_workers_replaced_one_by_one_under_load_leave_every_hour_exact(system: Pods) -> None:
    old = [await add(system) for _ in range(2)]
    async with system.load(600):
        await until_counted(system, 300)
        for worker in old:
            new = await add(system, **NEXT_RELEASE)
            await remove(system, worker)
            await until_counted(system, 300)
            assert new.ended is None
    await system.assert_exact_once_swept()
    assert [line for worker in old for line in troubles(worker)] == []


async def test_workers_added_and_removed_under_load_leave_every_hour_exact(system: Pods) -> None:
    """To none, too: entries wait in the stream, and their hours stay open."""
    async with system.load(600):
        workers = [await add(system)]
        await until_counted(system, 200)
        workers.append(await add(system))
        await until_counted(system, 400)
        for worker in workers:
            await remove(system, worker)
        before = await system.counted()
        await until(partial(has_backlog, system, 600), system.logs)
        assert await system.counted() == before
        await add(system)
        await until_counted(system, 600)
    await system.assert_exact_once_swept()


async def has_backlog(system: Pods, entries: int) -> bool:
    seen = await system.survey()
    return seen is not None and seen.lag_entries >= entries
