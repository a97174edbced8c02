from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import redis

from .conftest import GROUP, KEYS, Scripts

HOUR_MS = 3_600_000


class Claimed(NamedTuple):
    cursor: str
    now_ms: int
    ids: list[str]
    deliveries: list[int]
    lost: int


def claim(shard: Scripts, consumer: str, *, idle_ms: int = 0, cursor: str = "0-0", count: int = 100) -> Claimed:
    answer: list[Any] = shard.run("claim", [KEYS.stream, KEYS.ledger], GROUP, consumer, idle_ms, cursor, count)
    next_cursor, now_ms, entries, deliveries, lost = answer
    assert all(fields == ["data", "{}"] for _, fields in entries)
    return Claimed(next_cursor, now_ms, [entry_id for entry_id, _ in entries], deliveries, lost)


def owners(shard: Scripts) -> dict[str, str]:
    pending = shard.redis.xpending_range(KEYS.stream, GROUP, "-", "+", 100)
    return {entry["message_id"]: entry["consumer"] for entry in pending}


def test_entries_that_another_consumer_left_are_taken_over(shard: Scripts) -> None:
    ids = shard.pending(3)
    before_ms = shard.now_ms()
    claimed = claim(shard, "bob")
    assert before_ms <= claimed.now_ms <= shard.now_ms()
    assert claimed == ("0-0", claimed.now_ms, ids, [2, 2, 2], 0)
    assert owners(shard) == dict.fromkeys(ids, "bob")
    assert shard.ledger() == {}


def test_entries_that_are_worked_on_stay_where_they_are(shard: Scripts) -> None:
    ids = shard.pending(3)
    assert claim(shard, "bob", idle_ms=HOUR_MS).ids == []
    before = shard.dump()
    assert claim(shard, "bob", idle_ms=HOUR_MS).ids == []
    assert shard.dump() == before
    assert owners(shard) == dict.fromkeys(ids, "alice")


def test_the_cursor_is_carried_on_until_the_round_is_over(shard: Scripts) -> None:
    ids = shard.pending(5)
    first = claim(shard, "bob", count=2)
    second = claim(shard, "bob", count=2, cursor=first.cursor)
    third = claim(shard, "bob", count=2, cursor=second.cursor)
    assert [first.ids, second.ids, third.ids] == [ids[:2], ids[2:4], ids[4:]]
    assert (first.cursor, second.cursor, third.cursor) == (ids[2], ids[4], "0-0")


def test_each_claim_says_how_often_an_entry_was_delivered(shard: Scripts) -> None:
    ids = shard.pending(3)
    claim(shard, "bob", count=1)
    claim(shard, "alice", count=2)
    claim(shard, "bob", count=1)
    assert claim(shard, "carol").deliveries == [5, 3, 2]
    assert owners(shard) == dict.fromkeys(ids, "carol")


def test_a_consumer_s_own_entries_between_claimed_ones_do_not_shift_the_deliveries(shard: Scripts) -> None:
    shard.create_group()
    ids = shard.add("*", "*", "*")
    shard.deliver(1, "alice")
    shard.deliver(1, "bob")
    shard.deliver(1, "alice")
    # Bob's own one is idle for an hour less than the others.
    for entry_id, idle_ms in zip(ids, [2 * HOUR_MS, 0, 2 * HOUR_MS], strict=True):
        owner = owners(shard)[entry_id]
        shard.redis.xclaim(KEYS.stream, GROUP, owner, 0, [entry_id], idle=idle_ms, retrycount=int(idle_ms > 0) + 6)
    claimed = claim(shard, "bob", idle_ms=HOUR_MS)
    assert (claimed.ids, claimed.deliveries) == ([ids[0], ids[2]], [8, 8])


def test_entries_that_a_stranger_deleted_are_counted_as_lost_once(shard: Scripts) -> None:
    ids = shard.pending(4)
    shard.redis.xdel(KEYS.stream, ids[0], ids[2])
    claimed = claim(shard, "bob")
    assert (claimed.ids, claimed.lost) == ([ids[1], ids[3]], 2)
    assert claim(shard, "carol").lost == 0
    assert shard.ledger() == {"lost": "2"}
    assert set(owners(shard)) == {ids[1], ids[3]}


def test_without_a_group_the_claim_says_so(shard: Scripts) -> None:
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        claim(shard, "bob")


def test_a_ledger_of_the_wrong_type_fails_before_anything_is_claimed(shard: Scripts) -> None:
    ids = shard.pending(2)
    shard.redis.xdel(KEYS.stream, ids[0])
    shard.redis.set(KEYS.ledger, "a stranger's")
    before = shard.dump()
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        claim(shard, "bob")
    assert shard.dump() == before
