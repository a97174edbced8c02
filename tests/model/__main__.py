"""``python -m tests.model SEED [COUNT]``: play schedules from a seed on, on all cores."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import Pool
from typing import Final

from .mutants import CAUGHT, COVERED
from .schedule import FAULTS, Verdict, play

_SHARE: Final = 250
_SHOWN: Final = 20
_EVERY_S: Final = 5.0


def main() -> int:
    arguments = _arguments()
    if arguments.mutants:
        return _look_for_seeds(arguments.seed, arguments.count, arguments.jobs)
    if arguments.trace:
        return _show(arguments.seed, arguments.count, arguments.faults)
    return _play_all(arguments.seed, arguments.count, arguments.faults, arguments.jobs)


def _show(seed: int, count: int, faults: list[str] | None) -> int:
    exact = True
    for one in range(seed, seed + count):
        verdict = play(one, faults=faults, traced=True)
        _say(*verdict.trace, _outcome(verdict))
        exact &= verdict.exact
    return 0 if exact else 1


def _play_all(seed: int, count: int, faults: list[str] | None, jobs: int) -> int:
    """Play them, tell how far it has come, and how each failure is repeated."""
    started_s = told_s = time.monotonic()
    schedules = steps = failures = 0
    for played, of_these, failed in _shares(seed, count, faults, jobs):
        schedules, steps, failures = schedules + played, steps + of_these, failures + len(failed)
        for verdict in failed[: max(0, _SHOWN - failures + len(failed))]:
            options = f" --faults {shlex.quote(','.join(faults))}" if faults else ""
            _say(_outcome(verdict), f"  again: python -m tests.model {verdict.seed}{options} --trace")
        if time.monotonic() - told_s > _EVERY_S:
            told_s = time.monotonic()
            left_s = (told_s - started_s) / schedules * (count - schedules)
            _say(f"{schedules:,} of {count:,} schedules, {failures} failures; {left_s:.0f} s left")
    elapsed_s = time.monotonic() - started_s
    _say(f"{schedules:,} schedules from seed {seed}, {steps:,} steps, {failures} failures; {elapsed_s:.0f} s")
    return 1 if failures else 0


def _shares(seed: int, count: int, faults: list[str] | None, jobs: int) -> Iterator[tuple[int, int, list[Verdict]]]:
    play_share = partial(_play_share, faults=faults)
    shares = [range(first, min(first + _SHARE, seed + count)) for first in range(seed, seed + count, _SHARE)]
    if len(shares) == 1 or jobs == 1:
        yield from map(play_share, shares)
        return
    with Pool(jobs) as pool:
        yield from pool.imap_unordered(play_share, shares)


def _play_share(seeds: range, *, faults: list[str] | None) -> tuple[int, int, list[Verdict]]:
    verdicts = [play(seed, faults=faults) for seed in seeds]
    steps = sum(verdict.steps for verdict in verdicts)
    return len(verdicts), steps, [verdict for verdict in verdicts if not verdict.exact]


def _look_for_seeds(seed: int, count: int, jobs: int) -> int:
    """Of every mutant the first seed from this one on that catches it: what tests/model/mutants.py has to say."""
    rows = [*CAUGHT, *COVERED]
    missing = 0
    with Pool(jobs) as pool:
        seeds = pool.imap(partial(_first_seed, seed=seed, count=count), range(len(rows)))
        for row, found in zip(rows, seeds, strict=True):
            missing += found is None
            _say(f"{'none' if found is None else found:>6}  {row.name}")
    return 1 if missing else 0


def _first_seed(number: int, *, seed: int, count: int) -> int | None:
    row = [*CAUGHT, *COVERED][number]
    return next((one for one in range(seed, seed + count) if row.is_caught(one) and row.is_covered(one)), None)


def _outcome(verdict: Verdict) -> str:
    if verdict.exact:
        return f"seed {verdict.seed} is exact, after {verdict.steps} steps"
    return "\n  ".join([f"seed {verdict.seed} is NOT exact:", *verdict.differences])


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201 - it is what this command is for


def _faults(text: str) -> list[str]:
    """Names between commas. Raises argparse.ArgumentTypeError."""
    names = [name.strip() for name in text.split(",")]
    if unknown := sorted(set(names) - set(FAULTS)):
        raise argparse.ArgumentTypeError(f"there is no fault {', '.join(unknown)}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.model",
        description="Play random schedules of the model of the protocol, and tell which of them do not end exact.",
        epilog="example: python -m tests.model 1 100000",
    )
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("count", type=int, nargs="?", default=1, help="how many seeds (1)")
    parser.add_argument("--faults", type=_faults, help=f"only these, instead of some at random: {', '.join(FAULTS)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one for each core)")
    parser.add_argument("--trace", action="store_true", help="show every step")
    parser.add_argument("--mutants", action="store_true", help="look for seeds that catch each broken rule instead")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
