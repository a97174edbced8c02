from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from .conftest import GROUP, KEYS, Scripts

MOST = 10


class Surveyed(NamedTuple):
    now_ms: int
    watermark_ms: int
    pending: int
    oldest_pending_id: str
    first_undelivered_id: str
    undelivered: int
    entries_added: int
    length: int
    open: int
    due: int
    first_due_ms: str
    taken: int
    closed: int
    dead: int
    consumers: int
    ledger: list[str]


def survey(shard: Scripts) -> Surveyed:
    before = shard.dump()
    keys = [KEYS.stream, KEYS.open, KEYS.taken, KEYS.closed, KEYS.ledger, KEYS.dead]
    answer: list[Any] = shard.run("survey", keys, GROUP, MOST)
    assert shard.dump() == before
    return Surveyed(*answer)


@pytest.mark.parametrize("has_stream", [False, True], ids=["no stream", "no group"])
def test_without_a_group_there_is_nothing_to_survey(shard: Scripts, has_stream: bool) -> None:
    if has_stream:
        shard.add("*")
    keys = [KEYS.stream, KEYS.open, KEYS.taken, KEYS.closed, KEYS.ledger, KEYS.dead]
    assert shard.run("survey", keys, GROUP, MOST) == []


def test_an_empty_shard(shard: Scripts) -> None:
    shard.create_group()
    seen = survey(shard)
    assert seen.watermark_ms == seen.now_ms
    assert seen[2:] == (0, "", "", 0, 0, 0, 0, 0, "", 0, 0, 0, 0, [])


def test_every_figure_is_what_is_there(shard: Scripts) -> None:
    shard.count("s1")
    ids = shard.pending(3)
    undelivered = shard.add("*", "*")
    shard.redis.xack(KEYS.stream, GROUP, ids[0])
    shard.redis.xgroup_createconsumer(KEYS.stream, GROUP, "bob")
    shard.redis.zadd(KEYS.open, {"w1": 1})
    shard.redis.zadd(KEYS.taken, {"w2": 1, "w3": 1, "w4": 1})
    shard.redis.zadd(KEYS.closed, {f"c{n}": 1 for n in range(4)})
    for _ in range(5):
        shard.redis.xadd(KEYS.dead, {"reason": "malformed"})
    seen = survey(shard)
    assert seen.watermark_ms == int(ids[1].partition("-")[0])
    assert seen[2:] == (2, ids[1], undelivered[0], 2, 6, 6, 2, 2, "1", 3, 4, 5, 2, ["counted", "1"])


@pytest.mark.parametrize(("added", "undelivered"), [(MOST - 1, MOST - 1), (MOST, MOST), (MOST + 1, -1), (MOST * 3, -1)])
def test_undelivered_entries_are_counted_up_to_the_bound(shard: Scripts, added: int, undelivered: int) -> None:
    shard.pending(1)
    shard.add(*["*"] * added)
    assert survey(shard).undelivered == undelivered


def test_undelivered_is_counted_right_where_redis_own_lag_is_wrong(shard: Scripts) -> None:
    """After trimming, XINFO GROUPS of Redis 7.0 knows no lag, or a wrong one, for ever."""
    ids = shard.pending(6)
    shard.redis.xack(KEYS.stream, GROUP, *ids)
    shard.redis.xdel(KEYS.stream, ids[1], ids[3], ids[5])
    shard.redis.xtrim(KEYS.stream, minid=ids[4], approximate=False)
    shard.add("*", "*")
    seen = survey(shard)
    assert (seen.undelivered, seen.entries_added, seen.length) == (2, 8, 3)


def test_a_window_is_due_once_the_low_watermark_has_come_to_it(shard: Scripts) -> None:
    (entry_id,) = shard.pending(1)
    watermark_ms = int(entry_id.partition("-")[0])
    shard.set_open(late=watermark_ms - 5, due=watermark_ms, ahead=watermark_ms + 1)
    seen = survey(shard)
    assert (seen.open, seen.due, seen.first_due_ms) == (3, 2, str(watermark_ms - 5))


def test_a_window_that_is_ahead_is_not_due(shard: Scripts) -> None:
    (entry_id,) = shard.pending(1)
    shard.set_open(ahead=int(entry_id.partition("-")[0]) + 1)
    seen = survey(shard)
    assert (seen.open, seen.due, seen.first_due_ms) == (1, 0, "")
