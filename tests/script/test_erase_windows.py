from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from streamproc.core.windows import WindowKey

from .conftest import HOUR_MS, KEYS, NAME, START_MS, WINDOW, WINDOWING, Scripts

HASH = "hash-of-dana"
LATER = WINDOW._replace(start_ms=START_MS + HOUR_MS)
ANOTHERS = WINDOW._replace(user_id="noam")


def erase(shard: Scripts, *windows: WindowKey, covered_start_ms: int = START_MS) -> list[int]:
    """Erase, and erase again, as after a lost reply: then nothing is found, and nothing changes."""
    keys = [KEYS.erased, KEYS.user("dana"), KEYS.open, KEYS.taken, KEYS.closed]
    names = [WINDOWING.name(window) for window in windows]
    for name in names:
        keys += (KEYS.window(name).segments, KEYS.window(name).channel)
    found: list[int] = shard.run("erase_windows", keys, HASH, covered_start_ms, *names)
    before = shard.dump()
    assert shard.run("erase_windows", keys, HASH, covered_start_ms, *names) == [0, 0]
    assert shard.dump() == before
    return found


@pytest.mark.parametrize("state", [KEYS.open, KEYS.taken, KEYS.closed])
def test_a_covered_window_leaves_nothing_but_the_tombstone(shard: Scripts, state: str) -> None:
    shard.count("s1", "s2", "s3")
    shard.redis.delete(KEYS.open)
    shard.redis.zadd(state, {NAME: 7})
    others = {KEYS.stream, KEYS.ledger}
    assert erase(shard, WINDOW) == [1, 3]
    assert shard.dump().keys() - others == {KEYS.erased}
    assert shard.redis.zrange(KEYS.erased, 0, -1, withscores=True) == [(HASH, START_MS)]


def test_later_windows_and_those_of_others_stay(shard: Scripts) -> None:
    for window in (LATER, ANOTHERS):
        shard.count("s1", window=window)
    before = shard.dump()
    shard.count("s1", "s2")
    assert erase(shard, WINDOW) == [1, 2]
    after = shard.dump()
    assert after.pop(KEYS.erased) == [(HASH, START_MS)]
    moved = {KEYS.stream, KEYS.ledger}
    assert {key: value for key, value in after.items() if key not in moved} == {
        key: value for key, value in before.items() if key not in moved
    }


def test_the_mark_alone_is_enough_to_refuse_what_comes(shard: Scripts) -> None:
    assert erase(shard) == [0, 0]
    (entry,) = shard.pending(1)
    assert shard.commit([(WINDOW, 1, HASH, [(entry, "s1", "")])]).acknowledged == {"erased": 1}
    assert shard.segments() == {}


@pytest.mark.parametrize(("before_ms", "after_ms"), [(START_MS - HOUR_MS, START_MS), (LATER.start_ms, LATER.start_ms)])
def test_the_mark_only_ever_rises(shard: Scripts, before_ms: int, after_ms: int) -> None:
    shard.redis.zadd(KEYS.erased, {HASH: before_ms})
    erase(shard)
    assert shard.redis.zscore(KEYS.erased, HASH) == after_ms


def test_a_name_without_a_window_is_removed_and_not_counted(shard: Scripts) -> None:
    for key in (KEYS.open, KEYS.user("dana")):
        shard.redis.zadd(key, {NAME: 1})
    assert erase(shard, WINDOW) == [0, 0]
    assert shard.dump().keys() == {KEYS.erased}


@pytest.mark.parametrize("wrong", ["erased", "user", "taken", "segments", "channel"])
def test_a_key_of_the_wrong_type_is_found_before_anything_is_written(shard: Scripts, wrong: str) -> None:
    shard.count("s1")
    of_window = KEYS.window(NAME)
    key = {"erased": KEYS.erased, "taken": KEYS.taken}.get(wrong) or getattr(of_window, wrong)
    shard.redis.delete(key)
    shard.redis.set(key, "a stranger's")
    before = shard.dump()
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        erase(shard, WINDOW)
    assert shard.dump() == before


def test_two_hundred_windows_are_erased_at_once(shard: Scripts) -> None:
    windows = [WINDOW._replace(session_id=f"session-{n}") for n in range(200)]
    for window in windows:
        shard.redis.hset(KEYS.window(WINDOWING.name(window)).segments, "s1", "")
    assert erase(shard, *windows) == [200, 200]
