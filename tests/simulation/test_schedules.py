"""Random schedules of every fault: each of them ends exact. One that does not is shown, and its seed repeats it."""

from __future__ import annotations

import os
import time
from typing import Final

import pytest

from .__main__ import described
from .redis_under_faults import Server
from .scheduler import play

_THOROUGH: Final = os.environ.get("STREAMPROC_REQUIRE_TOOLS") == "1"
_FIRST_SEED: Final = int(os.environ.get("STREAMPROC_SIMULATION_SEED", "1"))
#: Schedules, and the seconds after which no further one is begun.
_MOST, _SECONDS = (4_000, 120) if _THOROUGH else (300, 20)
#: What a thorough run owes: so many schedules, or so many seconds, whatever somebody makes of the line above.
_OWED, _OWED_SECONDS = 1_000, 120


@pytest.mark.timeout(300)
def test_every_schedule_ends_exact(server: Server) -> None:
    started_s = time.monotonic()
    played, elapsed_s = 0, 0.0
    for seed in range(_FIRST_SEED, _FIRST_SEED + _MOST):
        verdict = play(server, seed)
        assert verdict.exact, f"{described(verdict)}\nagain: python -m tests.simulation {seed}"
        played += 1
        elapsed_s = time.monotonic() - started_s
        if elapsed_s > _SECONDS:
            break
    if _THOROUGH:
        assert played >= _OWED or elapsed_s >= _OWED_SECONDS, f"only {played} schedules in {elapsed_s:.0f} s"


def test_a_seed_repeats_its_schedule_step_by_step(server: Server) -> None:
    for seed in range(5):
        first = play(server, seed)
        assert play(server, seed).trace == first.trace


def test_schedules_differ(server: Server) -> None:
    assert play(server, 1).trace != play(server, 2).trace
