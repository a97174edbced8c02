from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from .conftest import GROUP, KEYS, Scripts


def erase(shard: Scripts, *ids: str) -> list[int]:
    """Erase, and erase again, as after a lost reply: then nothing is found."""
    deleted: list[int] = shard.run("erase_entries", [KEYS.stream], GROUP, *ids)
    assert shard.run("erase_entries", [KEYS.stream], GROUP, *ids) == [0] * len(ids)
    return deleted


def ids(shard: Scripts) -> list[str]:
    return [entry_id for entry_id, _ in shard.redis.xrange(KEYS.stream)]


def test_only_what_has_been_processed_is_deleted(shard: Scripts) -> None:
    done, pending, anothers = shard.pending(3)
    shard.redis.xack(KEYS.stream, GROUP, done, anothers)
    (undelivered,) = shard.add("*")
    assert erase(shard, done, pending, undelivered) == [1, 0, 0]
    assert ids(shard) == [pending, anothers, undelivered]


def test_ids_of_one_millisecond_are_told_apart_by_their_sequence(shard: Scripts) -> None:
    shard.create_group()
    shard.add("5-1", "5-9", "5-10", "5-11")
    shard.redis.xack(KEYS.stream, GROUP, *shard.deliver(3))
    assert erase(shard, "5-1", "5-9", "5-10", "5-11") == [1, 1, 1, 0]
    assert ids(shard) == ["5-11"]


def test_the_ledger_balances_as_before(shard: Scripts) -> None:
    shard.count("s1", "s2")
    done = ids(shard)
    (undelivered,) = shard.add("*")

    def imbalance() -> int:
        added = shard.redis.xinfo_stream(KEYS.stream)["entries-added"]
        return int(added) - int(shard.ledger()["counted"]) - 1  # the undelivered one

    assert imbalance() == 0
    assert erase(shard, *done, undelivered) == [1, 1, 0]
    assert imbalance() == 0


def test_without_a_group_nothing_has_been_processed(shard: Scripts) -> None:
    (entry,) = shard.add("*")
    shard.redis.xgroup_create(KEYS.stream, "a stranger's", "$")
    assert erase(shard, entry) == [0]
    assert ids(shard) == [entry]


def test_after_a_group_was_made_again_entries_wait_to_be_delivered_again(shard: Scripts) -> None:
    (entry,) = shard.pending(1)
    shard.redis.xack(KEYS.stream, GROUP, entry)
    shard.redis.xgroup_destroy(KEYS.stream, GROUP)
    shard.create_group()
    assert erase(shard, entry) == [0]


def test_without_a_stream_there_is_nothing_to_delete(shard: Scripts) -> None:
    assert erase(shard, "5-1") == [0]
    assert shard.dump() == {}


def test_entries_that_are_gone_are_passed_over(shard: Scripts) -> None:
    gone, there = shard.pending(2)
    shard.redis.xack(KEYS.stream, GROUP, gone, there)
    shard.redis.xdel(KEYS.stream, gone)
    assert erase(shard, gone, there) == [0, 1]


def test_a_stream_of_the_wrong_type_is_told(shard: Scripts) -> None:
    shard.redis.set(KEYS.stream, "a stranger's")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        erase(shard, "5-1")


def test_five_hundred_entries_are_deleted_at_once(shard: Scripts) -> None:
    pending = shard.pending(500)
    shard.redis.xack(KEYS.stream, GROUP, *pending)
    assert erase(shard, *pending) == [1] * 500
