from __future__ import annotations

from .conftest import KEYS, Scripts

NAMES = ("2026012310:kan-11:s-1:dana", "2026012310:kan-11:s-2:avi", "2026012310:kan-11:s-3:noa")


def stand(shard: Scripts, *names: str) -> list[int]:
    keys = [KEYS.open, KEYS.taken, *map(KEYS.segments, names)]
    return list(map(int, shard.run("stand", keys, *names)))


def test_a_window_says_its_size_and_whether_a_flush_is_to_come(shard: Scripts) -> None:
    for size, name in enumerate(NAMES, start=1):
        shard.redis.hset(KEYS.segments(name), mapping=dict.fromkeys(map(str, range(size)), "x"))
    shard.redis.zadd(KEYS.open, {NAMES[0]: 5})
    shard.redis.zadd(KEYS.taken, {NAMES[1]: 5})
    shard.redis.zadd(KEYS.closed, {NAMES[2]: 5})
    assert stand(shard, *NAMES) == [1, 1, 2, 1, 3, 0]


def test_a_closed_window_that_took_a_late_event_waits_for_a_flush(shard: Scripts) -> None:
    shard.redis.hset(KEYS.segments(NAMES[0]), "a", "x")
    shard.redis.zadd(KEYS.open, {NAMES[0]: 0})
    shard.redis.zadd(KEYS.taken, {NAMES[0]: 0})
    assert stand(shard, NAMES[0]) == [1, 1]


def test_a_window_that_is_gone_has_no_segments(shard: Scripts) -> None:
    assert stand(shard, NAMES[0]) == [0, 0]
    assert stand(shard) == []
