"""``python -m tests.chaos.cluster``: masters of a cluster die, freeze and are replaced, and slots move, under load.

Segments go through both buffered publishers with `replicas=1`, so each is confirmed when a replica has it, too. Then no
replica that is promoted may lack one, and nothing is forgiven: in the end every stored window is exactly what was
published, by the oracle of demo/oracle.py, and `streamproc audit` finds nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable

from .cluster_faults import FAULTS
from .cluster_stage import ClusterStage


async def play(seed: int, seconds: float, show: Callable[[str], None]) -> list[str]:
    """Cause faults for some time. Returns what is wrong in the end."""
    times: Counter[str] = Counter()
    async with ClusterStage(seed) as stage:
        async with stage.load():
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                fault = stage.rng.choice(FAULTS)
                name = fault.__name__.replace("_", " ")
                began_s = time.monotonic()
                await fault(stage)
                times[name] += 1
                show(f"{name}: {time.monotonic() - began_s:.1f} s")
                await stage.pause(0.3, 2)
        wrong = await stage.judge()
        show(f"{stage.oracle.segments} segments in {stage.oracle.windows} windows; {json.dumps(times)}")
    return wrong


def main() -> int:
    """Exit code 0: exact; 1: not."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.cluster", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="default: a random one")
    parser.add_argument("--seconds", type=float, default=120, help="how long to cause faults (default: %(default)g)")
    options = parser.parse_args()
    _tell(f"seed {options.seed}")
    wrong = asyncio.run(play(options.seed, options.seconds, _tell))
    for line in wrong:
        print(line)  # noqa: T201
    print("exact: no" if wrong else "exact: yes")  # noqa: T201
    return 1 if wrong else 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
