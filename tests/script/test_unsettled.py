from __future__ import annotations

from streamproc.core.windows import Windowing, WindowKey

from .conftest import KEYS, Scripts

HOUR_MS = 3_600_000


def name(hour: int, session: str) -> str:
    return Windowing().name(WindowKey(hour * HOUR_MS, "kan-11", session, "dana"))


def unsettled(shard: Scripts) -> list[str]:
    """The hours of the names in the answer."""
    _, *names = shard.run("unsettled", [KEYS.stream, KEYS.open, KEYS.taken], "streamproc")
    return sorted(one.partition(":")[0] for one in names)


def test_every_hour_that_waits_for_a_flush_is_told_once(shard: Scripts) -> None:
    shard.redis.xgroup_create(KEYS.stream, "streamproc", "0", mkstream=True)
    assert unsettled(shard) == []
    shard.redis.zadd(KEYS.open, {name(1, f"s-{number}"): number for number in range(100)})
    shard.redis.zadd(KEYS.taken, {name(1, "s-1"): 1, name(2, "s-1"): 1})
    shard.redis.zadd(KEYS.closed, {name(3, "s-1"): 1})
    assert unsettled(shard) == ["1970010101", "1970010102"]


def test_the_watermark_comes_with_it(shard: Scripts) -> None:
    shard.redis.xadd(KEYS.stream, {"data": "{}"}, id="5000-1")
    shard.redis.xgroup_create(KEYS.stream, "streamproc", "0")
    assert shard.run("unsettled", [KEYS.stream, KEYS.open, KEYS.taken], "streamproc") == [5000]


def test_without_a_group_nothing_is_known(shard: Scripts) -> None:
    assert shard.run("unsettled", [KEYS.stream, KEYS.open, KEYS.taken], "streamproc") == []
