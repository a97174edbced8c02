"""Playing faults: one round each, in an order and at times that the seed decides."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from streamproc.demo.stage import WorkerFailed

from .faults import Fault
from .stage import Stage
from .verdict import Verdict, judge

# What a round takes besides the load: starting, settling, the audit.
_OVERHEAD_S: Final = 14.0
_SHORTEST_LOAD_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Row:
    """One round's result."""

    fault: str
    times: int
    seconds: float
    verdict: Verdict

    @property
    def passed(self) -> bool:
        """It took place, and nothing went wrong."""
        return self.times > 0 and not any(self.verdict.numbers) and not self.verdict.told


async def play(fault: Fault, seed: int, load_s: float) -> Row:
    """One round."""
    rng = random.Random(f"{seed} {fault.name}")  # not hash(): the same in every process
    started_s, times = time.monotonic(), 0
    async with Stage(fault.scene, seed, rng) as stage:
        async with stage.load(fault.scene.rate):
            end_s = time.monotonic() + load_s
            await stage.pause(0.5, 1.5)
            try:
                while not times or time.monotonic() < end_s:
                    times += await fault.cause(stage)
                    stage.look_after_workers()
                    await stage.pause(0.3, 2)
            except (TimeoutError, WorkerFailed) as error:
                stage.troubles.append(f"{type(error).__name__}: {error}")
        verdict = await judge(stage)
    return Row(fault.name, times, time.monotonic() - started_s, verdict)


async def campaign(faults: Sequence[Fault], seed: int, seconds: float, show: Callable[[Row], None]) -> list[Row]:
    """All the faults, within the time or as long as the shortest rounds take. `show` is told of each result."""
    rows: list[Row] = []
    end_s = time.monotonic() + seconds
    for fault in random.Random(seed).sample(faults, len(faults)):
        share_s = (end_s - time.monotonic()) / (len(faults) - len(rows))
        rows.append(await play(fault, seed, max(_SHORTEST_LOAD_S, share_s - _OVERHEAD_S)))
        show(rows[-1])
    return sorted(rows, key=lambda row: [fault.name for fault in faults].index(row.fault))
