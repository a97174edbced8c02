"""The consumer on a real Redis: every entry gets one outcome, whoever held it before and whatever is wrong with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from one_shard import OneShard, one_shard, segment
from redis.exceptions import ConnectionError as RedisConnectionError

from streamproc.core import details
from streamproc.core.details import Detail
from streamproc.embedded import EmbeddedServer


@pytest.fixture
async def shard(redis_url: str, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(redis_url, mongod.url, mongo_database_name) as one:
        yield one


def leave_pending(shard: OneShard, ids: list[str], *, deliveries: int = 1, idle_ms: int = 100_000) -> None:
    """Have a consumer read entries and die, as if that had happened several times."""
    shard.redis.xreadgroup("streamproc", "dead", {shard.keys.stream: ">"})
    set_pending(shard, "dead", ids, deliveries=deliveries, idle_ms=idle_ms)


def set_pending(shard: OneShard, consumer: str, ids: list[str], *, deliveries: int, idle_ms: int) -> None:
    shard.redis.xclaim(
        shard.keys.stream, "streamproc", consumer, 0, ids, idle=idle_ms, retrycount=deliveries, justid=True
    )


async def assert_settled(shard: OneShard, **terms: int) -> None:
    """Nothing is pending, the ledger balances, and its terms are these."""
    seen = await shard.seen()
    assert (seen.pending, seen.undelivered, seen.ledger.imbalance()) == (0, 0, 0)
    assert {term: getattr(seen.ledger, term) for term in terms} == terms


async def test_new_entries_are_counted_once(shard: OneShard) -> None:
    shard.publish_names("a", "b", "a")
    assert await shard.consumer().run_once() == 3
    await assert_settled(shard, counted=2, duplicates=1)
    assert shard.metric("events_total", outcome="counted") == 2
    assert shard.metric("events_total", outcome="duplicate") == 1


async def test_no_entries_are_no_trouble(shard: OneShard) -> None:
    assert await shard.consumer().run_once() == 0


async def test_after_doubt_own_pending_entries_come_first(shard: OneShard) -> None:
    consumer = shard.consumer(max_events=2)
    shard.publish_names("a", "b", "c")
    await consumer.next_batch()  # and what became of it is not known
    shard.publish_names("d")
    consumer.doubt()
    assert [await consumer.run_once() for _ in range(3)] == [2, 2, 0]
    await assert_settled(shard, counted=4)


async def test_doubt_in_the_middle_of_reading_own_entries_starts_again_from_the_first(shard: OneShard) -> None:
    consumer = shard.consumer(max_events=2)
    shard.publish_names("a", "b", "c", "d")
    for _ in range(2):
        await consumer.next_batch()
    consumer.doubt()
    await consumer.next_batch()  # a and b, whose commit fails as well
    consumer.doubt()
    while await consumer.run_once():
        pass
    await assert_settled(shard, counted=4)


async def test_a_commit_whose_reply_was_lost_is_repeated_and_changes_nothing(shard: OneShard) -> None:
    consumer = shard.consumer()
    shard.publish_names("a", "b")
    plan = await consumer.plan(await consumer.next_batch())
    await consumer.commit(plan)
    before = shard.redis.hgetall(shard.keys.ledger)
    again = await consumer.commit(plan)
    assert (again.counted, again.duplicates, again.counted_details) == (0, 0, [])
    assert shard.redis.hgetall(shard.keys.ledger) == before


async def test_what_another_left_pending_is_claimed_with_the_cursor_carried_on(shard: OneShard) -> None:
    # One call of XAUTOCLAIM looks at ten times COUNT entries: the abandoned ones lie beyond the first call's reach.
    ids = shard.publish_names(*map(str, range(130)))
    leave_pending(shard, ids, idle_ms=0)
    leave_pending(shard, ids[-5:])
    consumer = shard.consumer("bob", max_events=10)
    assert [await consumer.run_once() for _ in range(2)] == [0, 5]
    assert (await shard.seen()).ledger.counted == 5


async def test_entries_that_are_not_idle_long_enough_stay_with_their_consumer(shard: OneShard) -> None:
    leave_pending(shard, shard.publish_names("a"), idle_ms=10_000)
    consumer = shard.consumer("bob")
    assert await consumer.run_once() == 0
    assert (await shard.seen()).pending == 1


async def test_a_healthy_entry_that_was_delivered_often_is_counted_and_its_mark_removed(shard: OneShard) -> None:
    ids = shard.publish_names("a", "b", "c")
    leave_pending(shard, ids)
    leave_pending(shard, ids[1:2], deliveries=9)
    assert await shard.consumer("bob").run_once() == 3
    await assert_settled(shard, counted=3)
    assert not shard.redis.exists(shard.keys.suspects)
    assert shard.dead() == []


async def test_an_entry_that_killed_two_consumers_while_alone_becomes_poison(shard: OneShard) -> None:
    ids = shard.publish_names("a", "b")
    leave_pending(shard, ids, deliveries=9)
    for dead in ("dead", "dead too"):
        await shard.stream(dead).suspect(ids[0].encode())
    assert await shard.consumer("bob").run_once() == 2
    await assert_settled(shard, counted=1, dead_lettered=1)
    (letter,) = shard.dead()
    assert (letter["reason"], letter["entry_id"]) == ("poison", ids[0])
    assert "2 consumers died while processing it alone" in letter["detail"]
    assert not shard.redis.exists(shard.keys.suspects)


async def test_a_consumer_that_died_while_an_entry_was_tried_alone_does_not_condemn_it(shard: OneShard) -> None:
    ids = shard.publish_names("a")
    leave_pending(shard, ids, deliveries=9)
    await shard.stream("stopped by chance").suspect(ids[0].encode())
    assert await shard.consumer("bob").run_once() == 1
    await assert_settled(shard, counted=1, dead_lettered=0)
    assert not shard.redis.exists(shard.keys.suspects)


async def test_trouble_with_redis_while_an_entry_is_tried_alone_does_not_condemn_it(
    shard: OneShard, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry_id,) = shard.publish_names("a")
    leave_pending(shard, [entry_id], deliveries=9)
    consumer = shard.consumer("bob")

    async def cut_off(_plan: Any) -> Any:
        raise RedisConnectionError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(consumer, "commit", cut_off)
        with pytest.raises(RedisConnectionError):
            await consumer.run_once()
    assert shard.redis.hget(shard.keys.suspects, entry_id) == b"bob\n"
    # It may come back by its own claim instead of its own pending list: the one who marked it is alive.
    set_pending(shard, "bob", [entry_id], deliveries=10, idle_ms=100_000)
    consumer.look_for_abandoned()
    await consumer.run_once()
    await assert_settled(shard, counted=1, dead_lettered=0)


async def test_an_entry_that_cannot_be_planned_is_poison_and_the_others_count(
    shard: OneShard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode_all(found: Sequence[Detail]) -> list[str]:
        if any(detail.retry_count == 13 for detail in found):
            raise ArithmeticError("our own mistake")
        return original(found)

    original = details.encode_all
    monkeypatch.setattr(details, "encode_all", encode_all)
    shard.publish(segment("a"), segment("b", retry_count=13), segment("c"))
    assert await shard.consumer().run_once() == 3
    await assert_settled(shard, counted=2, dead_lettered=1)
    (letter,) = shard.dead()
    assert letter["reason"] == "poison"
    assert "our own mistake" in letter["detail"]
    assert '"segment_id":"b"' in letter["payload"]
    assert shard.metric("dead_letters_total", reason="poison") == 1


async def test_an_often_delivered_entry_that_cannot_be_planned_is_poison_too(
    shard: OneShard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode_all(_found: Sequence[Detail]) -> list[str]:
        raise ArithmeticError("our own mistake")

    monkeypatch.setattr(details, "encode_all", encode_all)
    leave_pending(shard, shard.publish_names("a"), deliveries=9)
    assert await shard.consumer("bob").run_once() == 1
    await assert_settled(shard, counted=0, dead_lettered=1)
    assert not shard.redis.exists(shard.keys.suspects)


@pytest.mark.parametrize("how", ["own", "claimed"])
async def test_an_entry_deleted_while_pending_is_lost_and_said_so(shard: OneShard, how: str) -> None:
    ids = shard.publish_names("a", "b", "c")
    consumer = shard.consumer("bob")
    if how == "own":
        await consumer.next_batch()
        consumer.doubt()
    else:
        leave_pending(shard, ids)
    shard.redis.xdel(shard.keys.stream, ids[1])
    await consumer.run_once()
    await assert_settled(shard, counted=2, lost=1)
    assert shard.metric("entries_lost_total") == 1
    assert shard.metric("events_total", outcome="lost") == 1


async def test_a_dead_letter_tells_a_person_what_is_wrong(shard: OneShard) -> None:
    shard.redis.xadd(shard.keys.stream, {"data": '{"segment_id": 7}'})
    shard.publish_names("a")
    await shard.consumer().run_once()
    await assert_settled(shard, counted=1, dead_lettered=1)
    (letter,) = shard.dead()
    assert letter["reason"] == "malformed"
    assert "segment_id" in letter["detail"]
    assert letter["payload"] == '{"segment_id": 7}'
