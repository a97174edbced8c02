"""What may go wrong while a person is erased: it begins before that is asked for, ends when the receipt is there."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from streamproc.demo.stage import Worker

from .mongodb_faults import keep_mongodb_away
from .network_faults import slow_and_cut, to_redis
from .person import Officer
from .redis_faults import kill_redis, promote_replica
from .stage import Stage, kill_and_restart
from .worker_faults import kill_worker

Cause = Callable[[Stage], Awaitable[object]]
#: An erasure takes about so long: a fault that is caused meanwhile comes at any moment of it.
_ERASURE_S: Final = 2.5


class ErasureFault(NamedTuple):
    name: str
    during: Callable[[Stage, Officer], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def nothing(_stage: Stage, _officer: Officer) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def command_killed(stage: Stage, officer: Officer) -> AsyncIterator[None]:
    """`kill -9` of `streamproc erase`, at any moment."""
    officer.dies_after_s = stage.rng.uniform(0.5, 0.5 + _ERASURE_S)
    yield


@asynccontextmanager
async def _one_asleep(stage: Stage) -> AsyncIterator[Worker]:
    worker = stage.rng.choice(stage.workers)
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield worker
    finally:
        os.kill(worker.pid, signal.SIGCONT)


@asynccontextmanager
async def worker_frozen(stage: Stage, _officer: Officer) -> AsyncIterator[None]:
    """A zombie: one worker sleeps through both passes, with whatever it has in hand, and goes on as if nothing were."""
    async with _one_asleep(stage):
        yield


@asynccontextmanager
async def worker_frozen_then_killed(stage: Stage, officer: Officer) -> AsyncIterator[None]:
    """It wakes up after both passes, and dies some moments later: in the middle of a flush, if it was at one."""
    try:
        async with _one_asleep(stage) as worker:
            yield
    finally:
        await stage.pause(0, 0.1)
        await stage.kill(worker)
        await stage.start_worker()


@asynccontextmanager
async def archive_away(stage: Stage, _officer: Officer) -> AsyncIterator[None]:
    """The archive cannot be reached when the person is to be erased, and is back some seconds later."""
    folder = Path(stage.settings.archive_url.removeprefix("file://"))
    away = folder.with_name(f"{folder.name}-away")

    async def come_back() -> None:
        await stage.pause(_ERASURE_S, 2 * _ERASURE_S)
        await asyncio.to_thread(away.rename, folder)

    await asyncio.to_thread(folder.rename, away)
    task = asyncio.create_task(come_back())
    try:
        yield
    finally:
        await task


def meanwhile(cause: Cause) -> Callable[[Stage, Officer], AbstractAsyncContextManager[None]]:
    """A fault of the others, at any moment."""

    @asynccontextmanager
    async def during(stage: Stage, _officer: Officer) -> AsyncIterator[None]:
        async def later() -> None:
            await stage.pause(0, _ERASURE_S)
            await cause(stage)

        task = asyncio.create_task(later())
        try:
            yield
        finally:
            await task

    return during


async def _kill_mongod(stage: Stage) -> None:
    await kill_and_restart(stage, stage.mongod)


async def _cut_redis(stage: Stage) -> None:
    await slow_and_cut(stage, to_redis)


FAULTS: Final = (
    ErasureFault("none", nothing),
    ErasureFault("the command killed", command_killed),
    ErasureFault("worker frozen", worker_frozen),
    ErasureFault("replica promoted without the tail", meanwhile(promote_replica)),
    ErasureFault("mongod killed", meanwhile(_kill_mongod)),
    ErasureFault("worker frozen, then killed", worker_frozen_then_killed),
    ErasureFault("redis killed", meanwhile(kill_redis)),
    ErasureFault("mongodb away", meanwhile(keep_mongodb_away)),
    ErasureFault("workers killed", meanwhile(kill_worker)),
    ErasureFault("redis slow and cut off", meanwhile(_cut_redis)),
    ErasureFault("archive away", archive_away),
)
