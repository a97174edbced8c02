"""A minute of chaos: the faults that tell most, on windows as short as a laden machine allows."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from . import faults
from .campaign import play
from .report import trouble

_SEED: Final = 1
_LOAD_S: Final = 6.0
_SHORTER: Final = {"WINDOW_SECONDS": "2", "GRACE_SECONDS": "0.5", "LATE_QUIET_SECONDS": "0.5"}
_MOST_TELLING: Final = (
    "worker killed",
    "worker frozen",
    "redis killed",
    "mongod killed in mid-flush",
    "redis replies dropped",
)


@pytest.mark.parametrize("name", _MOST_TELLING)
async def test_every_stored_window_is_exact_after(name: str) -> None:
    fault = faults.named(name)
    scene = replace(fault.scene, settings={**fault.scene.settings, **_SHORTER})
    row = await play(fault._replace(scene=scene), _SEED, _LOAD_S)
    assert row.times > 0
    assert row.verdict.segments > 0
    assert row.passed, trouble([row], _SEED)


def test_every_fault_has_a_name_of_its_own() -> None:
    names = [fault.name for fault in faults.FAULTS]
    assert len(set(names)) == len(names)
    assert [faults.named(name).name for name in names] == names
