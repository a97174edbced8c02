"""A minute of `python -m tests.chaos.erasure`: one person, erased under load, of whom no byte is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from . import erasure, erasure_faults

#: As short as a laden machine allows. (A seed for each fault: `python -m tests.chaos.erasure`.)
_SHORTER: Final = {
    "WINDOW_SECONDS": "2",
    "GRACE_SECONDS": "0.5",
    "LATE_QUIET_SECONDS": "0.5",
    "FUTURE_TOLERANCE_SECONDS": "1",
    "FLUSH_VISIBILITY_SECONDS": "1",
}


async def test_a_person_who_is_erased_while_a_worker_sleeps_is_in_no_byte_and_counts_again_later() -> None:
    scene = replace(erasure.SCENE, settings={**erasure.SCENE.settings, **_SHORTER})
    (fault,) = [one for one in erasure_faults.FAULTS if one.name == "worker frozen"]
    result = await erasure.play(1, fault, scene)
    assert result.passed, f"{erasure.table([result])}\n" + "\n".join([*result.told, *result.at_once])


def test_every_seed_has_a_fault_of_its_own() -> None:
    names = [fault.name for fault in erasure_faults.FAULTS]
    assert len(set(names)) == len(names) >= 10
