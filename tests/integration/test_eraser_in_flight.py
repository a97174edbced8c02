"""What is under way while a person is erased, and what comes back later: it is gone in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from erasing import Erasing, Paused, found_again
from one_shard import Crash, OneShard, one_shard, segment

from streamproc.core.erasures import Pass
from streamproc.embedded import EmbeddedServer


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


@pytest.fixture
def erasing(shard: OneShard) -> Erasing:
    return Erasing(shard)


async def test_what_is_in_flight_is_refused_and_deleted_by_whoever_commits_it(erasing: Erasing) -> None:
    shard = erasing.shard
    erasing.add("counted")
    await shard.consume_all()
    letter = erasing.add_raw(b'{"user_id":"dana","segment_id":""}')
    await shard.consume_all()
    replayed = shard.dead()[0]["payload"].encode()
    erasing.add("pending")
    consumer = shard.consumer("sleeper")
    held = await consumer.next_batch()
    erasing.add("undelivered")
    erasure = await erasing.eraser.advance(await erasing.eraser.request("dana"))
    erasing.add("counted", "republished")
    erasing.add_raw(replayed)
    erasing.add_raw(orjson.dumps(segment("a", dubbing_ms=-1)))
    await consumer.commit(await consumer.plan(held))
    await shard.consume_all()
    assert await erasing.ledger() == {"counted": 1, "dead_lettered": 1, "erased": 6}
    assert erasing.segments() == []
    await erasing.finish(erasure)
    assert await erasing.traces() == []
    assert letter not in [one["entry_id"] for one in shard.dead()]


async def test_a_pending_entry_is_not_taken_out_of_a_consumer_s_hands(erasing: Erasing) -> None:
    erasing.add("a")
    held = await erasing.shard.consumer("sleeper").next_batch()
    await erasing.erase()
    assert await erasing.ledger() == {"pending": 1}
    assert len(held.entries) == erasing.shard.redis.xlen(erasing.shard.keys.stream) == 1


@pytest.mark.parametrize("after", [True, False], ids=["after its insert", "before its insert"])
async def test_a_flush_that_slept_through_both_passes_resurrects_nothing(erasing: Erasing, after: bool) -> None:
    shard = erasing.shard
    erasing.add("a", "b")
    await shard.consume_all()
    paused = Paused(shard, after=after)
    flush = asyncio.create_task(shard.flusher(measurements=paused).run_once())
    await paused.arrived.wait()
    await erasing.erase()
    paused.go_on.set()
    assert await flush == 1
    assert await erasing.traces() == []


def die() -> None:
    raise Crash


async def test_the_second_pass_erases_what_a_flush_stored_that_died_at_it(erasing: Erasing) -> None:
    erasing.add("a", "b")
    await erasing.shard.consume_all()
    paused = Paused(erasing.shard, after=False, then=die)
    flush = asyncio.create_task(erasing.shard.flusher(measurements=paused).run_once())
    await paused.arrived.wait()
    erasure = await erasing.eraser.advance(await erasing.eraser.request("dana"))
    paused.go_on.set()
    with pytest.raises(Crash):
        await flush
    assert await erasing.revisions() == [2]
    erasure = await erasing.finish(erasure)
    assert await erasing.traces() == []
    assert erasure.tallies[Pass.SECOND]["measurements"] == {"documents": 1}


async def test_what_a_flush_stored_that_slept_through_everything_and_died_is_erased_again(erasing: Erasing) -> None:
    erasing.add("a", "b")
    await erasing.shard.consume_all()
    paused = Paused(erasing.shard, after=False, then=die)
    flush = asyncio.create_task(erasing.shard.flusher(measurements=paused).run_once())
    await paused.arrived.wait()
    erasure = await erasing.erase()
    paused.go_on.set()
    with pytest.raises(Crash):
        await flush
    assert await erasing.revisions() == [2]
    assert await erasing.eraser.erase_again() == 1
    assert await erasing.traces() == []
    assert found_again(await erasing.erasures.load(erasure.id)) == 1
    assert erasing.shard.metric("erased_again_total") == 1


# Again


async def test_an_emptied_redis_learns_again_who_was_erased(erasing: Erasing) -> None:
    shard = erasing.shard
    await erasing.erase()
    await erasing.eraser.run_once()
    shard.redis.flushall()
    await shard.stream("nobody").ensure_group()
    erasing.add("republished")
    await shard.consume_all()
    assert erasing.segments() == ["republished"]
    await erasing.eraser.run_once()
    assert await erasing.traces() == []
    erasing.add("republished")
    await shard.consume_all()
    assert await erasing.ledger() == {"counted": 1, "erased": 1}


async def test_a_redis_restored_from_before_the_erasure_is_erased_again(erasing: Erasing) -> None:
    shard = erasing.shard
    erasing.add("a", "b")
    shard.publish(segment("x", user_id="noam"))
    await shard.consume_all()
    before = {key: shard.redis.dump(key) for key in shard.redis.scan_iter()}
    await erasing.erase()
    await erasing.eraser.run_once()
    shard.redis.flushall()
    for key, value in before.items():
        shard.redis.restore(key, 0, value)
    await erasing.flush_all()
    assert await erasing.revisions() == [2]
    await erasing.eraser.run_once()
    assert await erasing.traces() == []
    assert await erasing.others() == []
    assert await erasing.ledger() == {"counted": 3}


async def test_one_pod_applies_all_erasures_again_when_it_is_time(erasing: Erasing) -> None:
    await erasing.erase()
    await erasing.eraser.run_once()
    calls = []

    class Watched(type(erasing.measurements)):  # type: ignore[misc]
        async def erase(self, subjects: Any) -> Any:
            calls.append(len(subjects))
            return await super().erase(subjects)

    another = erasing.with_stores(measurements=Watched(erasing.shard.measurements))
    await another.run_once()
    assert calls == []
    erasing.shard.redis.delete(erasing.shard.keys.turn("erased"))  # the hour is over
    await another.run_once()
    await another.run_once()
    assert calls == [1]


async def test_ids_and_tombstones_are_let_go_of_when_nothing_can_come_back(erasing: Erasing) -> None:
    erasure = await erasing.erase()
    erasing.clock.now_ms = erasure.keep_until_ms - 1
    await erasing.eraser.erase_again()
    assert (await erasing.erasures.load(erasure.id)).sealed
    assert erasing.shard.redis.zcard(erasing.shard.keys.erased) == 1
    erasing.clock.now_ms = erasure.keep_until_ms + 1
    await erasing.eraser.erase_again()
    kept = await erasing.erasures.load(erasure.id)
    assert kept.sealed is None
    assert kept.receipt() == erasure.receipt()
    assert erasing.shard.redis.zcard(erasing.shard.keys.erased) == 0
