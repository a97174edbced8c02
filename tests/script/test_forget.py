"""`forgettable` names the windows, `forget` forgets them."""

from __future__ import annotations

import msgspec
import pytest

from streamproc.core.windows import WindowKey

from .conftest import DUE_MS, GROUP, HOUR_MS, KEYS, NAME, START_MS, WINDOW, WINDOWING, Scripts

NOW_MS = START_MS + 48 * HOUR_MS
OF_WINDOW = KEYS.window(NAME)


def forgettable(shard: Scripts, limit: int = 100) -> list[str]:
    return list(shard.run("forgettable", [KEYS.stream, KEYS.closed], GROUP, limit))


def forget(shard: Scripts, *windows: tuple[WindowKey, int]) -> list[str]:
    """Forget, and again, as after a lost reply: that changes nothing more."""
    keys = [KEYS.open, KEYS.taken, KEYS.closed, KEYS.ledger, KEYS.stream]
    packed = []
    for window, stored_revision in windows:
        name = WINDOWING.name(window)
        of_window = KEYS.window(name)
        keys += (of_window.segments, of_window.channel, of_window.user)
        packed.append((name, stored_revision, WINDOWING.end_of(window.start_ms)))
    batch = msgspec.msgpack.encode(packed)
    verdicts: list[str] = shard.run("forget", keys, NOW_MS, batch, GROUP)
    before = shard.dump()
    assert shard.run("forget", keys, NOW_MS, batch, GROUP) == ["busy"] * len(windows)
    assert shard.dump() == before
    return verdicts


def close(shard: Scripts, window: WindowKey = WINDOW, segments: int = 2) -> None:
    """A window with this many segments, flushed."""
    shard.count(*(f"s{number}" for number in range(segments)), window=window)
    name = WINDOWING.name(window)
    shard.redis.zrem(KEYS.open, name)
    shard.redis.zadd(KEYS.closed, {name: WINDOWING.forgettable_at(window.start_ms)})


# Which


@pytest.mark.parametrize("has_stream", [False, True], ids=["no stream", "no group"])
def test_without_a_group_nothing_is_forgettable(shard: Scripts, has_stream: bool) -> None:
    if has_stream:
        shard.add("5-0")
    shard.redis.zadd(KEYS.closed, {"w": 1})
    assert forgettable(shard) == []


@pytest.mark.parametrize(("forgettable_at_ms", "is_forgettable"), [(999, True), (1000, False), (1001, False)])
def test_a_window_is_forgettable_once_the_low_watermark_has_passed_its_horizon(
    shard: Scripts, forgettable_at_ms: int, is_forgettable: bool
) -> None:
    shard.create_group()
    shard.add("1000-0")
    shard.redis.zadd(KEYS.closed, {"w": forgettable_at_ms})
    before = shard.dump()
    assert forgettable(shard) == (["w"] if is_forgettable else [])
    assert shard.dump() == before


def test_the_oldest_are_forgettable_first_up_to_the_limit(shard: Scripts) -> None:
    shard.create_group()
    shard.redis.zadd(KEYS.closed, {"c": 3, "a": 1, "b": 2})
    assert forgettable(shard, limit=2) == ["a", "b"]


# Forgetting


@pytest.mark.parametrize(
    ("segments", "stored_revision"),
    [
        pytest.param(2, 2, id="what is stored"),
        pytest.param(2, 3, id="fewer than are stored, since Redis lost data"),
    ],
)
def test_a_stored_window_is_forgotten_and_the_mark_raised_to_its_end(
    shard: Scripts, segments: int, stored_revision: int
) -> None:
    close(shard, segments=segments)
    assert forget(shard, (WINDOW, stored_revision)) == ["forgotten"]
    state = shard.dump()
    del state[KEYS.stream]
    assert state == {KEYS.ledger: {"counted": str(segments), "mark": str(START_MS + HOUR_MS)}}


def test_a_closed_window_of_which_nothing_is_left_is_forgotten(shard: Scripts) -> None:
    close(shard)
    shard.redis.delete(OF_WINDOW.segments)
    assert forget(shard, (WINDOW, 0)) == ["forgotten"]
    assert shard.closed() == {}
    assert shard.redis.exists(OF_WINDOW.channel, OF_WINDOW.user) == 0


def test_forgetting_leaves_other_windows_in_the_indexes(shard: Scripts) -> None:
    neighbour = WINDOW._replace(session_id="session-8")
    close(shard)
    close(shard, neighbour)
    forget(shard, (WINDOW, 2))
    assert shard.redis.smembers(OF_WINDOW.channel) == {WINDOWING.name(neighbour)}
    assert shard.redis.zrange(OF_WINDOW.user, 0, -1) == [WINDOWING.name(neighbour)]
    assert set(shard.segments(neighbour)) == {"s0", "s1"}


def test_a_window_with_more_segments_than_stored_is_opened_again_and_keeps_everything(shard: Scripts) -> None:
    close(shard)
    assert forget(shard, (WINDOW, 1)) == ["open"]
    assert shard.open() == {NAME: NOW_MS}
    assert shard.closed() == {}
    assert set(shard.segments()) == {"s0", "s1"}
    assert "mark" not in shard.ledger()


@pytest.mark.parametrize("where", [KEYS.open, KEYS.taken])
def test_a_window_that_is_open_or_taken_is_busy(shard: Scripts, where: str) -> None:
    close(shard)
    shard.redis.zadd(where, {NAME: 5})
    before = shard.dump()
    assert forget(shard, (WINDOW, 2)) == ["busy"]
    assert shard.dump() == before


def test_a_window_that_is_not_closed_is_busy(shard: Scripts) -> None:
    shard.count("s1")
    before = shard.dump()
    assert forget(shard, (WINDOW, 1)) == ["busy"]
    assert shard.dump() == before


def test_the_mark_never_falls(shard: Scripts) -> None:
    older = WINDOW._replace(start_ms=START_MS - HOUR_MS)
    close(shard)
    close(shard, older)
    forget(shard, (WINDOW, 2))
    forget(shard, (older, 2))
    assert shard.ledger()["mark"] == str(START_MS + HOUR_MS)


def test_each_window_has_its_own_verdict_and_the_mark_follows_the_forgotten(shard: Scripts) -> None:
    windows = [WINDOW._replace(start_ms=START_MS + n * HOUR_MS) for n in range(3)]
    for window in windows:
        close(shard, window)
    shard.redis.zadd(KEYS.open, {WINDOWING.name(windows[1]): 5})
    verdicts = forget(shard, (windows[0], 2), (windows[1], 2), (windows[2], 1))
    assert verdicts == ["forgotten", "busy", "open"]
    assert shard.ledger()["mark"] == str(START_MS + HOUR_MS)


def test_what_comes_for_a_forgotten_window_does_not_bring_it_back(shard: Scripts) -> None:
    close(shard)
    forget(shard, (WINDOW, 2))
    assert shard.count("s1", "new", due_ms=DUE_MS).acknowledged == {"duplicates": 2}
    assert shard.segments() == {}
    assert shard.open() == {}


def test_a_window_is_not_forgotten_while_something_older_is_pending_again(shard: Scripts) -> None:
    """As after a failover: the window was listed while everything before it was committed."""
    close(shard)
    shard.redis.zadd(KEYS.closed, {NAME: shard.now_ms()})
    shard.pending(1)
    shard.redis.zadd(KEYS.closed, {NAME: shard.now_ms() + 1})
    assert forget(shard, (WINDOW, 2)) == ["busy"]
    assert len(shard.segments()) == 2


def test_without_a_group_nothing_is_forgotten(shard: Scripts) -> None:
    close(shard)
    shard.redis.xgroup_destroy(KEYS.stream, GROUP)
    assert forget(shard, (WINDOW, 2)) == ["busy"]
