from __future__ import annotations

import pytest

from .conftest import GROUP, KEYS, Scripts

DAY_MS = 86_400_000


def trim(shard: Scripts, retention_ms: int = 0, dead_letter_retention_ms: int = 7 * DAY_MS) -> tuple[int, int]:
    """Trim, and again: nothing is left to trim."""
    args = (GROUP, retention_ms, dead_letter_retention_ms)
    entries, dead = shard.run("trim", [KEYS.stream, KEYS.dead], *args)
    before = shard.dump()
    assert shard.run("trim", [KEYS.stream, KEYS.dead], *args) == [0, 0]
    assert shard.dump() == before
    return entries, dead


def left(shard: Scripts, stream: str = KEYS.stream) -> list[str]:
    return [entry_id for entry_id, _ in shard.redis.xrange(stream)]


@pytest.mark.parametrize("has_stream", [False, True], ids=["no stream", "no group"])
def test_without_a_group_nothing_is_trimmed(shard: Scripts, has_stream: bool) -> None:
    if has_stream:
        shard.add(*(f"{n}-0" for n in range(1, 500)))
    shard.redis.xadd(KEYS.dead, {"reason": "malformed"}, id="1-0")
    before = shard.dump()
    assert trim(shard) == (0, 0)
    assert shard.dump() == before


@pytest.mark.parametrize("delivered", [1000, 350], ids=["pending", "undelivered"])
def test_the_stream_is_never_trimmed_past_an_entry_without_an_outcome(shard: Scripts, delivered: int) -> None:
    """Trimming is approximate, by whole nodes of 100 entries: it may leave more, never less."""
    shard.create_group()
    ids = shard.add(*(f"{n}-0" for n in range(1, 1001)))
    shard.deliver(delivered)
    without_outcome = ids[350]
    shard.redis.xack(KEYS.stream, GROUP, *(i for i in ids if i != without_outcome))
    removed, _ = trim(shard)
    assert 200 <= removed <= 350
    assert left(shard) == ids[removed:]


def test_entries_within_the_retention_stay(shard: Scripts) -> None:
    shard.create_group()
    now_ms = shard.now_ms()
    old = shard.add(*(f"{now_ms - DAY_MS - 1000 + n}-0" for n in range(500)))
    young = shard.add(*(f"{now_ms - DAY_MS + 60_000 + n}-0" for n in range(500)))
    shard.redis.xack(KEYS.stream, GROUP, *shard.deliver(1000))
    removed, _ = trim(shard, retention_ms=DAY_MS)
    assert 400 <= removed <= 500
    assert left(shard) == (old + young)[removed:]


def test_dead_letters_have_a_retention_of_their_own(shard: Scripts) -> None:
    shard.create_group()
    now_ms = shard.now_ms()
    for n in range(300):
        shard.redis.xadd(KEYS.dead, {"reason": "malformed"}, id=f"{now_ms - 8 * DAY_MS + n}-0")
    young = shard.redis.xadd(KEYS.dead, {"reason": "future"}, id=f"{now_ms - 6 * DAY_MS}-0")
    removed = trim(shard)
    assert removed[0] == 0
    assert 200 <= removed[1] <= 300
    assert left(shard, KEYS.dead)[-1] == young
