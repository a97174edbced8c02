"""Workers are killed, frozen, multiplied, misled and flooded."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streamproc.demo.stage import Worker

from .requests import WORKER_REQUESTS
from .stage import Stage

_WRONG_CLOCK: Final = Path(__file__).parent / "wrong_clock"
_HOUR_S: Final = 3600
_FLOOD: Final = 5
_PATIENCE_S: Final = 20.0


async def kill_worker(stage: Stage) -> int:
    """`kill -9` one or all, at any moment or right after one of them has asked Redis for something; start others."""
    if stage.rng.random() < 0.5:
        asking = asyncio.Event()
        stage.redis_proxy.watch(stage.rng.choice(WORKER_REQUESTS), asking.set)
        await asyncio.wait_for(asking.wait(), _PATIENCE_S)
    victims = stage.rng.sample(stage.workers, stage.rng.choice((1, len(stage.workers))))
    await asyncio.gather(*map(stage.kill, victims))
    await asyncio.gather(*(stage.start_worker() for _ in victims))
    return len(victims)


async def freeze_worker(stage: Stage) -> int:
    """SIGSTOP for longer than the claim and visibility times: others take over, and it goes on as if nothing were."""
    worker = stage.rng.choice(stage.workers)
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        await stage.pause(2.5, 5)
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    return 1


async def scale(stage: Stage) -> int:
    """From as many as there are to four, to one, and back to two. Each start and stop counts."""
    times = 0
    for wanted in (4, 1, 2):
        while len(stage.workers) < wanted:
            await stage.start_worker()
            times += 1
        while len(stage.workers) > wanted:
            await stage.stop(stage.rng.choice(stage.workers))
            times += 1
    return times


async def start_worker_with_wrong_clock(stage: Stage) -> int:
    """Replace one by a worker whose clock is an hour wrong, and for a moment let it work alone."""
    shift_s = stage.rng.choice((-_HOUR_S, _HOUR_S))
    python_path = os.pathsep.join(filter(None, (str(_WRONG_CLOCK), os.environ.get("PYTHONPATH", ""))))
    right, *others = stage.workers
    wrong = await stage.start_worker(PYTHONPATH=python_path, CLOCK_SHIFT_SECONDS=str(shift_s))
    await stage.stop(right)
    for worker in others:
        await stage.stop(worker)
    await stage.pause(2, 4)
    await stage.start_worker()
    times = int(_clock_is_wrong(wrong, shift_s))
    await stage.stop(wrong)
    await stage.start_worker()
    return times


def _clock_is_wrong(worker: Worker, shift_s: float) -> bool:
    """Its log tells the time that it believes it is."""
    logged = datetime.strptime(worker.log_tail(1)[:19], "%Y-%m-%d %H:%M:%S").astimezone(UTC)
    return abs((logged - datetime.now(UTC)).total_seconds() - shift_s) < _HOUR_S / 2


async def flood(stage: Stage) -> int:
    """Five times what the workers can count at that time: a backlog grows for some seconds, and is worked off.

    All their requests are slow meanwhile, and with the scene's small batches they just keep up with its rate.
    """
    stage.redis_proxy.latency_s = (0.1, 0.15)
    try:
        async with stage.load(stage.scene.rate * (_FLOOD - 1)):
            await stage.pause(4, 7)
            seen = await stage.survey()
    finally:
        stage.redis_proxy.latency_s = (0.0, 0.0)
    return int(seen is not None and seen.lag_entries > stage.scene.rate)
