from __future__ import annotations

import json

from .conftest import GROUP, KEYS, Scripts

COUNTED = {"counted": "7", "duplicates": "2", "lost": "1", "mark": "5"}


def ensure_group(shard: Scripts) -> str:
    """Ensure, and again: a group that is there stays as it is."""
    reason = str(shard.run("ensure_group", [KEYS.stream, KEYS.ledger], GROUP))
    before = shard.dump()
    assert shard.run("ensure_group", [KEYS.stream, KEYS.ledger], GROUP) == ""
    assert shard.dump() == before
    return reason


def test_the_first_start_creates_stream_and_group_and_begins_the_first_epoch(shard: Scripts) -> None:
    assert ensure_group(shard) == "first start"
    assert shard.ledger() == {"epoch": "1", "epoch_base": "0", "epoch_reason": "first start"}
    (group,) = shard.redis.xinfo_groups(KEYS.stream)
    assert (group["name"], group["last-delivered-id"]) == (GROUP, "0-0")


def test_entries_added_before_the_first_start_are_all_delivered(shard: Scripts) -> None:
    ids = shard.add("*", "*", "*")
    assert ensure_group(shard) == "first start"
    assert shard.deliver(10) == ids
    assert shard.ledger()["epoch_base"] == "0"


def test_what_was_trimmed_before_an_epoch_is_no_concern_of_it(shard: Scripts) -> None:
    ids = shard.add(*["*"] * 10)
    shard.redis.xdel(KEYS.stream, *ids[:4])
    ensure_group(shard)
    assert shard.ledger()["epoch_base"] == "4"


def test_another_s_group_is_not_ours(shard: Scripts) -> None:
    shard.redis.xgroup_create(KEYS.stream, "another", "0", mkstream=True)
    assert ensure_group(shard) == "first start"
    assert {group["name"] for group in shard.redis.xinfo_groups(KEYS.stream)} == {"another", GROUP}


def test_a_vanished_group_is_created_anew_from_the_first_entry_and_a_new_epoch_begins(shard: Scripts) -> None:
    ensure_group(shard)
    ids = shard.add("*", "*")
    shard.deliver(2)
    shard.redis.hset(KEYS.ledger, mapping=COUNTED)
    shard.redis.xgroup_destroy(KEYS.stream, GROUP)
    assert ensure_group(shard) == "group missing"
    assert shard.deliver(10) == ids
    ledger = shard.ledger()
    ended = json.loads(ledger.pop("epoch:1"))
    assert ledger == {"epoch": "2", "epoch_base": "0", "epoch_reason": "group missing", "mark": "5"}
    assert ended == {
        "counted": "7",
        "duplicates": "2",
        "dead_lettered": "0",
        "erased": "0",
        "forwarded": "0",
        "lost": "1",
        "epoch_base": "0",
        "epoch_reason": "first start",
    }


def test_a_vanished_stream_is_created_anew_and_a_new_epoch_begins(shard: Scripts) -> None:
    ensure_group(shard)
    shard.add("*", "*")
    shard.redis.hset(KEYS.ledger, mapping=COUNTED)
    shard.redis.delete(KEYS.stream)
    assert ensure_group(shard) == "stream missing"
    ledger = shard.ledger()
    assert (ledger["epoch"], ledger["epoch_base"], ledger["epoch_reason"]) == ("2", "0", "stream missing")
    assert "counted" not in ledger


def test_a_stream_that_producers_brought_back_before_us_lost_only_its_group(shard: Scripts) -> None:
    ensure_group(shard)
    shard.redis.delete(KEYS.stream)
    ids = shard.add("*")
    assert ensure_group(shard) == "group missing"
    assert shard.deliver(10) == ids


def test_every_epoch_is_kept_under_its_number(shard: Scripts) -> None:
    for _ in range(3):
        ensure_group(shard)
        shard.redis.delete(KEYS.stream)
    assert {field for field in shard.ledger() if field.startswith("epoch:")} == {"epoch:1", "epoch:2"}
