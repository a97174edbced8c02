from __future__ import annotations

import pytest

from .conftest import KEYS, Scripts

SILENT_MS = 60_000


def tell(shard: Scripts, consumer: str, report: str) -> list[str]:
    return list(shard.run("tell", [KEYS.pods, KEYS.heard], consumer, report, SILENT_MS))


def test_what_a_pod_says_is_kept_with_the_time_of_redis(shard: Scripts) -> None:
    before_ms = shard.now_ms()
    assert tell(shard, "alice", '{"first": 1}') == []
    tell(shard, "bob", "{}")
    tell(shard, "alice", '{"second": 2}')
    assert shard.redis.hgetall(KEYS.pods) == {"alice": '{"second": 2}', "bob": "{}"}
    assert (
        before_ms <= shard.redis.zscore(KEYS.heard, "bob") <= shard.redis.zscore(KEYS.heard, "alice") <= shard.now_ms()
    )


@pytest.mark.parametrize(("silent_for_ms", "dropped"), [(SILENT_MS - 10_000, []), (SILENT_MS, ["bob"])])
def test_a_pod_that_is_silent_for_too_long_is_dropped_by_the_next(
    shard: Scripts, silent_for_ms: int, dropped: list[str]
) -> None:
    tell(shard, "bob", "{}")
    shard.redis.zadd(KEYS.heard, {"bob": shard.now_ms() - silent_for_ms})
    assert tell(shard, "alice", "{}") == dropped
    there = {"alice", "bob"} - set(dropped)
    assert set(shard.redis.hgetall(KEYS.pods)) == there
    assert set(shard.redis.zrange(KEYS.heard, 0, -1)) == there


def test_a_pod_that_leaves_is_there_no_more(shard: Scripts) -> None:
    tell(shard, "alice", "{}")
    tell(shard, "bob", "{}")
    assert tell(shard, "alice", "") == []
    assert tell(shard, "alice", "") == []
    assert shard.redis.hgetall(KEYS.pods) == {"bob": "{}"}
    assert shard.redis.zrange(KEYS.heard, 0, -1) == ["bob"]
