from __future__ import annotations

import pytest

from .conftest import GROUP, KEYS, Scripts

FAR_MS = 10**15
VISIBILITY_MS = 60_000


def take_due(shard: Scripts, limit: int = 100, visibility_ms: int = VISIBILITY_MS) -> tuple[int, int, list[str]]:
    now_ms, watermark_ms, *names = shard.run(
        "take_due", [KEYS.stream, KEYS.open, KEYS.taken], GROUP, limit, visibility_ms
    )
    return now_ms, watermark_ms, names


# The low watermark


@pytest.mark.parametrize("has_stream", [False, True], ids=["no stream", "no group"])
def test_without_a_group_nothing_is_due(shard: Scripts, has_stream: bool) -> None:
    if has_stream:
        shard.add("5-0")
    shard.redis.zadd(KEYS.open, {"w": 1})
    shard.redis.zadd(KEYS.taken, {"expired": 1})
    before = shard.dump()
    assert shard.run("take_due", [KEYS.stream, KEYS.open, KEYS.taken], GROUP, 100, VISIBILITY_MS) == []
    assert shard.dump() == before


@pytest.mark.parametrize(
    ("added", "delivered", "acknowledged", "watermark_ms"),
    [
        pytest.param(["1000-0", "2000-0"], 0, [], 1000, id="the first undelivered entry"),
        pytest.param(["1000-0", "2000-0"], 1, [], 1000, id="the pending entry before an undelivered one"),
        pytest.param(["1000-0", "2000-0"], 1, ["1000-0"], 2000, id="the undelivered entry after a committed one"),
        pytest.param(["1000-0", "2000-0"], 2, [], 1000, id="the oldest of several pending"),
        pytest.param(["1000-0", "2000-0"], 2, ["1000-0"], 2000, id="the pending entry that is left"),
        pytest.param(
            ["1000-7", "1000-8"], 1, ["1000-7"], 1000, id="an entry of the same millisecond as a committed one"
        ),
        pytest.param([], 0, [], None, id="now where the stream is empty"),
        pytest.param(["1000-0", "2000-0"], 2, ["1000-0", "2000-0"], None, id="now where everything is committed"),
        pytest.param([f"{FAR_MS}-0"], 0, [], None, id="now where the undelivered entry's id is ahead of the clock"),
        pytest.param([f"{FAR_MS}-0"], 1, [], None, id="now where the pending entry's id is ahead of the clock"),
    ],
)
def test_the_low_watermark_is_the_smallest_of(
    shard: Scripts, added: list[str], delivered: int, acknowledged: list[str], watermark_ms: int | None
) -> None:
    shard.create_group()
    shard.add(*added)
    if delivered:
        shard.deliver(delivered)
    if acknowledged:
        shard.redis.xack(KEYS.stream, GROUP, *acknowledged)
    before_ms = shard.now_ms()
    now_ms, found_ms, _ = take_due(shard)
    assert before_ms <= now_ms <= shard.now_ms()
    assert found_ms == (now_ms if watermark_ms is None else watermark_ms)


@pytest.mark.parametrize("another", ["a group before ours", "the group after ours"])
def test_another_group_s_entries_do_not_hold_the_watermark(shard: Scripts, another: str) -> None:
    first, second = shard.pending(2)
    shard.redis.xgroup_create(KEYS.stream, another, "0")
    shard.redis.xreadgroup(another, "bob", {KEYS.stream: ">"}, 1)
    shard.redis.xack(KEYS.stream, GROUP, first, second)
    now_ms, watermark_ms, _ = take_due(shard)
    assert watermark_ms == now_ms


def test_a_pending_entry_that_a_stranger_deleted_still_holds_the_watermark(shard: Scripts) -> None:
    shard.create_group()
    shard.add("1000-0")
    shard.deliver(1)
    shard.redis.xdel(KEYS.stream, "1000-0")
    assert take_due(shard)[1] == 1000


# Taking


@pytest.mark.parametrize(("due_ms", "is_due"), [(999, True), (1000, True), (1001, False)])
def test_a_window_is_due_when_the_low_watermark_reaches_its_time(shard: Scripts, due_ms: int, is_due: bool) -> None:
    shard.create_group()
    shard.add("1000-0")
    shard.redis.zadd(KEYS.open, {"w": due_ms})
    now_ms, _, names = take_due(shard)
    assert names == (["w"] if is_due else [])
    assert shard.taken() == ({"w": now_ms + VISIBILITY_MS} if is_due else {})
    assert shard.open() == ({} if is_due else {"w": due_ms})


def test_taking_again_takes_nothing(shard: Scripts) -> None:
    shard.create_group()
    shard.redis.zadd(KEYS.open, {"w": 1, "not due": FAR_MS})
    take_due(shard)
    before = shard.dump()
    assert take_due(shard)[2] == []
    assert shard.dump() == before


def test_the_longest_due_are_taken_first_up_to_the_limit(shard: Scripts) -> None:
    shard.create_group()
    shard.redis.zadd(KEYS.open, {"c": 3, "a": 1, "d": 4, "b": 2})
    assert take_due(shard, limit=3)[2] == ["a", "b", "c"]
    assert take_due(shard, limit=3)[2] == ["d"]


def test_a_window_whose_flusher_is_gone_is_taken_anew(shard: Scripts) -> None:
    shard.create_group()
    shard.redis.zadd(KEYS.taken, {"expired": shard.now_ms(), "in time": FAR_MS})
    now_ms, _, names = take_due(shard)
    assert names == ["expired"]
    assert shard.taken() == {"expired": now_ms + VISIBILITY_MS, "in time": FAR_MS}
    assert shard.open() == {}


def test_an_expired_window_is_due_at_once_though_a_late_entry_put_it_off(shard: Scripts) -> None:
    shard.create_group()
    shard.redis.zadd(KEYS.taken, {"w": 1})
    shard.redis.zadd(KEYS.open, {"w": FAR_MS})
    assert take_due(shard)[2] == ["w"]
    assert shard.open() == {}


def test_expired_windows_beyond_the_limit_go_back_with_the_next_take(shard: Scripts) -> None:
    shard.create_group()
    shard.redis.zadd(KEYS.taken, {"a": 1, "b": 2, "c": 3})
    assert take_due(shard, limit=2)[2] == ["a", "b"]
    assert take_due(shard, limit=2)[2] == ["c"]


def test_an_expired_window_put_back_waits_its_turn_behind_those_due_longer(shard: Scripts) -> None:
    shard.create_group()
    shard.redis.zadd(KEYS.taken, {"expired": 1})
    shard.redis.zadd(KEYS.open, {"due for long": 1})
    _, watermark_ms, names = take_due(shard, limit=1)
    assert names == ["due for long"]
    assert shard.open() == {"expired": watermark_ms}
    assert set(shard.taken()) == {"due for long"}
