"""The stand-in does what the real store does: the same operations leave the same measurements in both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from streamproc.core.details import Detail
from streamproc.core.fold import fold
from streamproc.core.revisions import Stored
from streamproc.core.windows import WindowKey
from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.collection import ensure_collection
from streamproc.stores.mongo.connect import connect
from streamproc.stores.mongo.measurements import MeasurementStore

from .clock import START_MS
from .faults import run
from .measurements import SimulatedMeasurements

HOUR_MS = 3_600_000
DETAIL = Detail(START_MS * 1000, 1, 2, 3, 6, 10, 9, "he", "en")
WINDOWS = [
    WindowKey(START_MS + hour * HOUR_MS, "kan-11", session, user)
    for hour in range(3)
    for session in ("s-1", "s-2")
    for user in ("dana", "noa")
]


@pytest.fixture
async def real(mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[MeasurementStore]:
    async with connect(mongod.url, app_name="tests") as client:
        await ensure_collection(client[mongo_database_name])
        yield MeasurementStore(client[mongo_database_name])


async def test_the_same_operations_leave_the_same_measurements(real: MeasurementStore) -> None:
    rng = Random(7)
    stand_in = SimulatedMeasurements(rng)
    for write in range(150):
        await _one_operation(rng, real, stand_in, write)
        assert _by_rank(await real.look_up(WINDOWS)) == _by_rank(run(stand_in.look_up(WINDOWS)))


async def _one_operation(rng: Random, real: MeasurementStore, stand_in: SimulatedMeasurements, write: int) -> None:
    match rng.choice(("insert", "insert", "insert again", "delete", "delete nothing", "sweep", "erase")):
        case "insert":
            documents = [_document(rng, write) for _ in range(rng.randrange(4))]
            assert await real.insert(documents) == run(stand_in.insert(documents)) == []
        case "insert again" if stand_in.documents:
            twin = [rng.choice(stand_in.documents)]
            assert await real.insert(twin) == run(stand_in.insert(twin)) == []
        case "delete":
            found = [one for stored in run(stand_in.look_up(WINDOWS)).values() for one in stored]
            doomed = rng.sample(found, min(len(found), 2))
            assert await real.delete(doomed) == run(stand_in.delete(doomed))
        case "delete nothing":
            absent: list[Any] = [Stored(rng.choice(WINDOWS), 1, -1, "")]
            assert await real.delete(absent) == run(stand_in.delete(absent)) == 0
        case "sweep":
            since_ms = START_MS + rng.randrange(3) * HOUR_MS
            until_ms = since_ms + rng.randrange(1, 4) * HOUR_MS
            assert await real.sweep(since_ms, until_ms) == run(stand_in.sweep(since_ms, until_ms))
        case "erase":
            covered = (rng.choice(("dana", "noa", "nobody")), START_MS + rng.randrange(-1, 3) * HOUR_MS)
            assert await real.count_user(*covered) == run(stand_in.count_user(*covered))
            assert await real.erase_user(*covered) == run(stand_in.erase_user(*covered))


def _document(rng: Random, write: int) -> dict[str, Any]:
    segments = {f"segment-{number}": DETAIL for number in range(rng.randrange(1, 5))}
    return fold(rng.choice(WINDOWS), segments).document(write)


def _by_rank(found: dict[WindowKey, Any]) -> dict[WindowKey, list[Any]]:
    return {key: sorted(map(tuple, stored)) for key, stored in found.items()}
