"""``python -m tests.chaos.soak``: does anything grow without bound while nothing is wrong?

Retention and horizon are short, so that after a minute and a half of warming up as much is forgotten and trimmed as
comes in, and whatever is kept stands still. From then on the medians of the last third are compared with those of the
middle third. Something without a bound grows between them by what comes in during a third of the time: in a soak of
three minutes by 12,000 entries, 360 windows, 480 keys. What stands still differs by noise. The line between the two is
a tenth, plus what each can be off by whatever its size:

    worker     6 MB: allocators keep what they were given, and the names of up to 50,000 windows are remembered, which
               fill up by some 0.3 MB a minute at this load
    redis      1 MB, for the same reason
    keys       60, windows 40: those of 30 sessions end together, and are forgotten together
    entries    100, dead letters 100: trimming takes whole nodes of 100 entries
    consumers  1: one is replaced just now

A soak of three minutes sees a worker leak 16 MB a minute, one of an hour 0.8. MongoDB is left
out: it keeps 90 days, as it should.

Of two workers one lives as long as the soak: it is the one whose memory is watched. The other is replaced every 20
seconds, so that consumers come and go.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from .scene import Scene
from .stage import Stage
from .verdict import judge

_SETTINGS: Final = {
    "LATE_HORIZON_SECONDS": "24",
    "STREAM_RETENTION_SECONDS": "20",
    "DEAD_LETTER_RETENTION_SECONDS": "30",
}
_RATE: Final = 200.0
_WARM_UP_S: Final = 90.0
_SAMPLE_S: Final = 1.0
_REPLACE_S: Final = 20.0
_MB: Final = 1_000_000
_RELATIVE: Final = 0.10


class Sample(NamedTuple):
    """Where everything stands, at one moment."""

    worker_bytes: int
    redis_bytes: int
    keys: int
    stream_entries: int
    dead_letters: int
    windows_to_be_stored: int
    windows_kept: int
    consumers: int


_SLACK: Final = Sample(
    worker_bytes=6 * _MB,
    redis_bytes=1 * _MB,
    keys=60,
    stream_entries=100,
    dead_letters=100,
    windows_to_be_stored=40,
    windows_kept=40,
    consumers=1,
)


class Growth(NamedTuple):
    """The medians of the middle and the last third of one figure."""

    name: str
    middle: float
    last: float
    allowed: float

    @property
    def bounded(self) -> bool:
        return self.last - self.middle <= self.allowed


def growth(samples: Sequence[Sample]) -> list[Growth]:
    """Each figure, the last third against the middle third."""
    third = len(samples) // 3
    rows = []
    for name, slack in _SLACK._asdict().items():
        figures = [getattr(sample, name) for sample in samples]
        middle, last = median(figures[third : 2 * third]), median(figures[2 * third :])
        rows.append(Growth(name, middle, last, middle * _RELATIVE + slack))
    return rows


async def soak(seconds: float, seed: int) -> tuple[list[Growth], list[str]]:
    """Returns the growth of each figure, and what else went wrong: it must end exact, like any round."""
    async with Stage(Scene(_SETTINGS, rate=_RATE), seed, random.Random(seed)) as stage:
        async with stage.load(_RATE):
            samples = await _watch(stage, seconds)
        verdict = await judge(stage)
    return growth(samples), verdict.told


async def _watch(stage: Stage, seconds: float) -> list[Sample]:
    samples = []
    started_s = replaced_s = time.monotonic()
    while (now_s := time.monotonic()) < started_s + _WARM_UP_S + seconds:
        if now_s - replaced_s > _REPLACE_S:
            replaced_s = now_s
            await stage.stop(stage.workers[-1])
            await stage.start_worker()
        if now_s > started_s + _WARM_UP_S:
            samples.append(await _sample(stage))
        await asyncio.sleep(_SAMPLE_S)
    return samples


async def _sample(stage: Stage) -> Sample:
    seen = await stage.survey()
    assert seen is not None
    return Sample(
        worker_bytes=_resident_bytes(stage.workers[0].pid),
        redis_bytes=(await stage.redis_client.info("memory"))["used_memory"],
        keys=await stage.redis_client.dbsize(),
        stream_entries=seen.length,
        dead_letters=seen.dead,
        windows_to_be_stored=seen.open + seen.taken,
        windows_kept=seen.closed,
        consumers=seen.consumers,
    )


def _resident_bytes(pid: int) -> int:
    """https://www.kernel.org/doc/html/latest/filesystems/proc.html (statm: pages)"""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> int:
    """Exit code 0: nothing grows, and the hours are exact; 1: something does, or they are not."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="after warming up (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rows, told = asyncio.run(soak(options.minutes * 60, options.seed))
    print(f"{'':24}{'middle third':>14}{'last third':>14}{'growth':>12}{'allowed':>12}")  # noqa: T201
    for row in rows:
        grown = f"{row.last - row.middle:>12,.0f}{row.allowed:>12,.0f}{'' if row.bounded else '  GROWS'}"
        print(f"{row.name.replace('_', ' '):24}{row.middle:>14,.0f}{row.last:>14,.0f}{grown}")  # noqa: T201
    print(*told, sep="\n")  # noqa: T201
    return 0 if all(row.bounded for row in rows) and not told else 1


if __name__ == "__main__":
    sys.exit(main())
