from __future__ import annotations

from .conftest import KEYS, Scripts


def give_back(shard: Scripts, watermark_ms: int, *names: str) -> int:
    return int(shard.run("give_back", [KEYS.open, KEYS.taken], watermark_ms, *names))


def test_windows_given_back_are_due_at_once(shard: Scripts) -> None:
    shard.redis.zadd(KEYS.taken, {"a": 5, "b": 5, "c": 5})
    assert give_back(shard, 1000, "a", "b") == 2
    assert shard.open() == {"a": 1000, "b": 1000}
    assert shard.taken() == {"c": 5}


def test_giving_back_again_changes_nothing(shard: Scripts) -> None:
    shard.redis.zadd(KEYS.taken, {"a": 5})
    give_back(shard, 1000, "a")
    before = shard.dump()
    assert give_back(shard, 2000, "a") == 0
    assert shard.dump() == before


def test_a_window_that_is_not_taken_any_more_is_left_alone(shard: Scripts) -> None:
    shard.redis.zadd(KEYS.closed, {"a": 5})
    before = shard.dump()
    assert give_back(shard, 1000, "a") == 0
    assert shard.dump() == before


def test_a_later_due_time_gives_way_and_an_earlier_one_stays(shard: Scripts) -> None:
    shard.redis.zadd(KEYS.taken, {"late": 5, "early": 5})
    shard.redis.zadd(KEYS.open, {"late": 2000, "early": 500})
    give_back(shard, 1000, "late", "early")
    assert shard.open() == {"late": 1000, "early": 500}
