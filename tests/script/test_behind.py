from __future__ import annotations

from typing import Any

import msgspec

from .conftest import KEYS, Scripts

KEPT_MS = 60_000
_KEYS = [KEYS.behind, KEYS.last_errors]
_pack = msgspec.msgpack.Encoder().encode


def note(shard: Scripts, *sessions: tuple[str, int | None, str | None]) -> int:
    return int(shard.run("behind", _KEYS, KEPT_MS, _pack(sessions)))


def take(shard: Scripts, limit: int = 10, visibility_ms: int = 60_000) -> Any:
    return shard.run("take_behind", _KEYS, limit, visibility_ms)


def let_go(shard: Scripts, until_ms: int, *sessions: str) -> int:
    return int(shard.run("caught_up", _KEYS, until_ms, *sessions))


def test_a_session_is_noted_once_with_its_last_error(shard: Scripts) -> None:
    assert note(shard, ("s-1", 5_000, "early"), ("s-2", None, None)) == 2
    note(shard, ("s-1", 1_769_162_400_123, "late: 12 % {x}"), ("s-1", 6_000, "between"))
    now_ms, until_ms, waiting, *taken = take(shard)
    assert (until_ms - now_ms, waiting) == (60_000, 2)
    assert taken == ["s-1", "1769162400123 late: 12 % {x}", "s-2", ""]


def test_what_is_taken_is_not_taken_again_before_its_time_is_up(shard: Scripts) -> None:
    note(shard, ("s-1", None, None), ("s-2", None, None))
    assert take(shard, limit=1)[3:] == ["s-1", ""]
    assert take(shard)[3:] == ["s-2", ""]
    assert take(shard)[2:] == [2]
    shard.redis.zadd(KEYS.behind, {"s-1": shard.now_ms() - 1})
    assert take(shard)[3:] == ["s-1", ""]


def test_whoever_has_taken_it_lets_go_of_it_and_of_its_error(shard: Scripts) -> None:
    note(shard, ("s-1", 5_000, "timeout"), ("s-2", 6_000, "timeout"))
    _, until_ms, *_ = take(shard)
    assert let_go(shard, until_ms, "s-1", "unknown") == 1
    assert shard.redis.zrange(KEYS.behind, 0, -1) == ["s-2"]
    assert shard.redis.hgetall(KEYS.last_errors) == {"s-2": "6000 timeout"}


def test_what_was_noted_since_stays_noted(shard: Scripts) -> None:
    note(shard, ("s-1", 5_000, "timeout"))
    _, until_ms, *_ = take(shard)
    note(shard, ("s-1", None, None))
    assert let_go(shard, until_ms, "s-1") == 0
    assert take(shard)[3:] == ["s-1", "5000 timeout"]


def test_what_another_has_taken_since_stays_his(shard: Scripts) -> None:
    note(shard, ("s-1", None, None))
    _, until_ms, *_ = take(shard, visibility_ms=1)
    shard.redis.zadd(KEYS.behind, {"s-1": shard.now_ms() - 1})
    take(shard, visibility_ms=60_000)
    assert let_go(shard, until_ms, "s-1") == 0
    assert shard.redis.zcard(KEYS.behind) == 1


def test_notes_that_nobody_takes_are_not_kept_for_ever(shard: Scripts) -> None:
    note(shard, ("s-1", 5_000, "timeout"))
    assert 0 < shard.redis.pttl(KEYS.behind) <= KEPT_MS
    assert 0 < shard.redis.pttl(KEYS.last_errors) <= KEPT_MS
