"""The stand-in does what the real store does: the same operations leave the same erasures in both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from streamproc.core.erasures import Erasure, Pass
from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.connect import connect
from streamproc.stores.mongo.erasures import ErasureStore, UnknownErasure

from .clock import START_MS
from .erasures import SimulatedErasures
from .faults import run
from .measurements import SimulatedMeasurements

USERS = ("dana", "noa")


@pytest.fixture
async def real(mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[ErasureStore]:
    async with connect(mongod.url, app_name="tests") as client:
        yield ErasureStore(client[mongo_database_name])


async def test_the_same_operations_leave_the_same_erasures(real: ErasureStore) -> None:
    rng = Random(7)
    stand_in = SimulatedErasures(SimulatedMeasurements(rng))
    for number in range(150):
        await _one_operation(rng, real, stand_in, number)
        at_ms = START_MS + rng.randrange(200)
        assert await real.unfinished() == run(stand_in.unfinished())
        assert await real.live(at_ms) == run(stand_in.live(at_ms))
        for user in USERS:
            assert await real.of_user(user) == run(stand_in.of_user(user))


async def test_neither_knows_what_was_never_added(real: ErasureStore) -> None:
    stand_in = SimulatedErasures(SimulatedMeasurements(Random(7)))
    recorded: tuple[Any, ...] = ("nobody", Pass.FIRST, {}, {}, START_MS)
    with pytest.raises(UnknownErasure):
        await real.load("nobody")
    with pytest.raises(UnknownErasure):
        await real.record(*recorded)
    with pytest.raises(UnknownErasure):
        run(stand_in.load("nobody"))
    with pytest.raises(UnknownErasure):
        run(stand_in.record(*recorded))


async def _one_operation(rng: Random, real: ErasureStore, stand_in: SimulatedErasures, number: int) -> None:
    match rng.choice(("add", "record", "record", "record", "forget ids")):
        case "record" if stand_in.erasures:
            recorded: tuple[Any, ...] = (rng.choice(list(stand_in.erasures)), rng.choice(list(Pass)), *_found(rng))
            assert await real.record(*recorded) == run(stand_in.record(*recorded))
            assert await real.load(recorded[0]) == run(stand_in.load(recorded[0]))
        case "forget ids":
            at_ms = START_MS + rng.randrange(200)
            assert await real.forget_ids(at_ms) == run(stand_in.forget_ids(at_ms))
        case _:
            erasure = Erasure(f"e-{number}", rng.choice(USERS), START_MS + number, 0, 10_000, START_MS + number, b"-")
            await real.add(erasure)
            run(stand_in.add(erasure))


def _found(rng: Random) -> tuple[dict[str, dict[str, Any]], dict[str, str], int]:
    tallies: dict[str, dict[str, Any]] = {
        "redis_0": {"windows": rng.randrange(3)},
        "measurements": {"documents": 1},
        "sessions": {"sessions": rng.sample(["hash-a", "hash-b", "hash-c"], 2)},
        "others": {},
    }
    trouble = rng.choice(({}, {"redis_0": "ConnectionError"}))
    return {name: tallies[name] for name in rng.sample(list(tallies), 2)}, trouble, START_MS + rng.randrange(1000)
