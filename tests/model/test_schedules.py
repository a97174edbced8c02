"""The protocol holds in random schedules of its model."""

from __future__ import annotations

import os
import time
from typing import Final

import pytest

from .schedule import FAULTS, play

_FIRST_SEED: Final = int(os.environ.get("STREAMPROC_MODEL_SEED", "1"))
#: Schedules, and the seconds after which no further one is begun; at least so many are owed.
_MOST, _SECONDS, _OWED = 800, 10, 300


@pytest.mark.timeout(60)
def test_every_schedule_ends_exact() -> None:
    started_s = time.monotonic()
    for played, seed in enumerate(range(_FIRST_SEED, _FIRST_SEED + _MOST)):
        if played >= _OWED and time.monotonic() - started_s > _SECONDS:
            break
        verdict = play(seed)
        assert verdict.exact, f"{verdict.differences}\nagain: python -m tests.model {seed} --trace"


@pytest.mark.parametrize("fault", [(), *((fault,) for fault in FAULTS)], ids=lambda faults: "".join(faults) or "none")
def test_a_schedule_with_one_kind_of_fault_ends_exact(fault: tuple[str, ...]) -> None:
    for seed in range(1, 21):
        verdict = play(seed, faults=fault)
        assert verdict.exact, verdict.differences


def test_a_seed_repeats_its_schedule_step_by_step() -> None:
    for seed in range(5):
        assert play(seed, traced=True).trace == play(seed, traced=True).trace


def test_schedules_differ() -> None:
    assert play(1, traced=True).trace != play(2, traced=True).trace
