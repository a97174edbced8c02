"""An erasure that ends anywhere is completed by another; what is away makes it incomplete, and no more."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from erasing import VISIBILITY_MS, Erasing
from one_shard import Crash, FailurePlan, OneShard, one_shard, segment
from pymongo.errors import AutoReconnect
from redis.exceptions import ConnectionError as RedisConnectionError

from streamproc.core.erasure_key import ErasureKey
from streamproc.core.erasures import Erasure, State
from streamproc.embedded import EmbeddedServer, start_mongod
from streamproc.roles.eraser import ErasureIncomplete
from streamproc.stores.mongo.erasures import UnknownErasure


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


@pytest.fixture
def erasing(shard: OneShard) -> Erasing:
    return Erasing(shard)


class Failing:
    """A store or layer whose nth call fails, before or after it took effect."""

    def __init__(self, store: Any, plan: FailurePlan) -> None:
        self._store = store
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        async def failing(*args: Any) -> Any:
            self._plan.begin(name)
            answer = await found(*args)
            self._plan.end(name)
            return answer

        return failing


@pytest.mark.parametrize(
    "error", [Crash(), RedisConnectionError("cut off"), AutoReconnect("cut off")], ids=["death", "redis", "mongodb"]
)
async def test_an_erasure_that_ends_anywhere_is_completed_by_another(shard: OneShard, error: BaseException) -> None:
    ended_at = []
    for point in range(1, 100):
        erasing = Erasing(shard, f"user-{point}")
        erasing.add("a", "b")
        shard.publish(segment("x", f"s-{point}", user_id="noam"))
        await shard.consume_all()
        await erasing.flush_all()
        plan = FailurePlan(point, error)
        stores = (erasing.layer, erasing.measurements, erasing.erasures)
        layer, measurements, erasures = (Failing(store, plan) for store in stores)
        eraser = erasing.with_stores(layer, measurements, erasures)
        try:
            erasure = await eraser.advance(await eraser.request(erasing.user))
            erasing.clock.now_ms += VISIBILITY_MS
            erasure = await eraser.advance(erasure)
        except (Crash, RedisConnectionError, AutoReconnect):
            erasure = None
        if not plan.failed_at:
            break
        ended_at.append(plan.failed_at)
        await _complete(erasing, erasure)
    assert ended_at[:4] == ["before now_ms", "after now_ms", "before add", "after add"]
    assert {at.partition(" ")[2] for at in ended_at} == {"now_ms", "add", "load", "erase", "tell", "record"}
    assert len(ended_at) == 2 * (2 + 2 * 6 + 1)
    assert await erasing.others() == []


async def _complete(erasing: Erasing, erasure: Erasure | None) -> None:
    """What any worker does, and what its user does who got no receipt."""
    if erasure is not None and erasure.state is not State.COMPLETE:
        assert erasure.state in (State.INCOMPLETE, State.UNDER_WAY)
    if not await erasing.eraser.of_user(erasing.user):
        await erasing.eraser.request(erasing.user)
    await erasing.eraser.run_once()
    erasing.clock.now_ms += VISIBILITY_MS
    await erasing.eraser.run_once()
    (known,) = await erasing.eraser.of_user(erasing.user)
    assert known.state is State.COMPLETE
    assert await erasing.traces() == []


async def test_a_layer_that_is_away_keeps_no_other_from_being_erased(erasing: Erasing) -> None:
    erasing.add("a", "b")
    await erasing.shard.consume_all()
    await erasing.flush_all()

    class Away:
        name = "measurements"

        async def erase(self, subjects: Any) -> Any:
            raise AutoReconnect("dana is asked for in vain")

    eraser = erasing.with_stores(measurements=Away())
    erasure = await eraser.advance(await eraser.request("dana"))
    assert erasure.state is State.INCOMPLETE
    assert erasure.trouble == {"measurements": "it does not answer in time, or cuts the connection"}
    assert (erasing.segments(), await erasing.revisions()) == ([], [2])
    with pytest.raises(ErasureIncomplete, match=r"^measurements: it does not answer in time"):
        await eraser.run_once()
    assert erasing.shard.metric("erasures_unfinished") == 1
    assert (await erasing.finish(erasure)).trouble == {}
    await erasing.eraser.run_once()
    assert erasing.shard.metric("erasures_unfinished") == 0
    assert await erasing.traces() == []


async def test_mongodb_away_makes_it_incomplete_and_back_complete(
    valkey: EmbeddedServer, mongo_database_name: str
) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(start_mongod())
        url = f"{server.url}?serverSelectionTimeoutMS=300"
        shard = await stack.enter_async_context(one_shard(valkey.url, url, mongo_database_name))
        erasing = Erasing(shard)
        erasing.add("a", "b")
        await shard.consume_all()
        await erasing.flush_all()
        asked = await erasing.eraser.request("dana")
        os.kill(server.pid, signal.SIGKILL)
        erasure = await erasing.eraser.advance(asked)
        assert erasure.state is State.INCOMPLETE
        assert list(erasure.trouble) == ["mongodb"]
        server.restart()
        await erasing.finish(erasure)
        assert await erasing.traces() == []


async def test_an_erasure_under_another_key_is_reported_and_holds_up_no_other(erasing: Erasing) -> None:
    mine = await erasing.eraser.request("dana")
    another = Erasing(erasing.shard, "noam")
    another.key = ErasureKey("another")
    theirs = await another.with_stores().request("noam")
    with pytest.raises(ErasureIncomplete, match=theirs.id):
        await erasing.eraser.run_once()
    assert (await erasing.erasures.load(mine.id)).first_pass_at_ms is not None
    assert "STREAMPROC_ERASURE_KEY" in (await erasing.erasures.load(theirs.id)).trouble["key"]


async def test_several_processes_at_one_erasure_count_each_thing_once(erasing: Erasing) -> None:
    erasing.add(*(f"s{n}" for n in range(50)))
    await erasing.shard.consume_all()
    await erasing.flush_all()
    erasure = await erasing.eraser.request("dana")
    await asyncio.gather(*(erasing.with_stores().advance(erasure) for _ in range(5)))
    erasing.clock.now_ms += VISIBILITY_MS
    await asyncio.gather(*(erasing.with_stores().advance(erasure) for _ in range(5)))
    erasure = await erasing.erasures.load(erasure.id)
    assert erasure.state is State.COMPLETE
    counts = {what: erasure.total(what) for what in ("windows", "segments", "stream_entries", "documents")}
    assert counts == {"windows": 1, "segments": 50, "stream_entries": 50, "documents": 1}


async def test_an_erasure_that_nobody_asked_for_is_not_found(erasing: Erasing) -> None:
    with pytest.raises(UnknownErasure, match="'e1'"):
        await erasing.erasures.load("e1")
