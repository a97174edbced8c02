from __future__ import annotations

import json
from typing import Any

from .conftest import GROUP, KEYS, Scripts

NOTE = "a script of ours trimmed; published again"


def write_off(shard: Scripts, epoch: int = 1, most: int = 100) -> int:
    return int(shard.run("write_off", [KEYS.stream, KEYS.ledger], GROUP, epoch, most, NOTE))


def begin(shard: Scripts) -> None:
    shard.run("ensure_group", [KEYS.stream, KEYS.ledger], GROUP)


def imbalance(shard: Scripts) -> int:
    """Entries added in this epoch that are neither counted nor lost, pending or undelivered."""
    ledger: dict[str, Any] = shard.ledger()
    (group,) = shard.redis.xinfo_groups(KEYS.stream)
    added = shard.redis.xinfo_stream(KEYS.stream)["entries-added"] - int(ledger["epoch_base"])
    undelivered = len(shard.redis.xrange(KEYS.stream, f"({group['last-delivered-id']}"))
    outcomes = int(ledger.get("counted", 0)) + int(ledger.get("lost", 0))
    return int(added - outcomes - group["pending"] - undelivered)


def test_what_is_missing_is_kept_on_record_and_the_new_epoch_balances(shard: Scripts) -> None:
    begin(shard)
    shard.count("a", "b")
    (_pending,) = shard.pending(1)
    gone, *_undelivered = shard.add("*", "*", "*")
    shard.redis.xdel(KEYS.stream, gone)
    shard.redis.hincrby(KEYS.ledger, "lost", 4)
    shard.redis.hincrby(KEYS.ledger, "mark", 7)
    assert imbalance(shard) == 1 - 4
    at_least_ms = shard.now_ms()
    assert write_off(shard) == 1
    assert imbalance(shard) == 0
    ledger = shard.ledger()
    ended = json.loads(ledger.pop("epoch:1"))
    assert ledger == {"epoch": "2", "epoch_base": "3", "epoch_reason": "written off", "mark": "7"}
    assert int(ended.pop("at")) >= at_least_ms
    assert ended == {
        "note": NOTE,
        "entries_added": "6",
        "pending": "1",
        "undelivered": "2",
        "counted": "2",
        "duplicates": "0",
        "dead_lettered": "0",
        "erased": "0",
        "forwarded": "0",
        "lost": "4",
        "epoch_base": "0",
        "epoch_reason": "first start",
    }


def test_what_is_pending_or_undelivered_is_counted_in_the_new_epoch(shard: Scripts) -> None:
    begin(shard)
    shard.add("*", "*")
    assert write_off(shard) == 1
    shard.count("a", "b")  # adds two more, and these come after
    assert imbalance(shard) == 0
    assert shard.ledger()["counted"] == "2"


def test_an_epoch_is_ended_once(shard: Scripts) -> None:
    begin(shard)
    assert [write_off(shard), write_off(shard), write_off(shard, epoch=2)] == [1, 0, 1]
    assert {field for field in shard.ledger() if field.startswith("epoch:")} == {"epoch:1", "epoch:2"}


def test_without_a_group_nothing_is_written_off(shard: Scripts) -> None:
    assert write_off(shard) == 0
    assert shard.dump() == {}


def test_behind_a_long_backlog_nobody_can_tell_what_is_missing(shard: Scripts) -> None:
    begin(shard)
    shard.add("*", "*", "*")
    before = shard.dump()
    assert write_off(shard, most=2) == -1
    assert shard.dump() == before
    assert write_off(shard, most=3) == 1
