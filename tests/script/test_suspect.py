from __future__ import annotations

from .conftest import GROUP, KEYS, Scripts


def suspect(shard: Scripts, entry_id: str, consumer: str) -> int:
    return int(shard.run("suspect", [KEYS.stream, KEYS.suspects], GROUP, entry_id, consumer))


def test_each_mark_is_written_once_and_the_next_is_told_how_many_others_there_are(shard: Scripts) -> None:
    first, second = shard.pending(2)
    assert [suspect(shard, first, consumer) for consumer in ("alice", "alice", "bob", "alice")] == [0, 0, 1, 1]
    assert suspect(shard, first, "carol") == 2
    assert suspect(shard, second, "bob") == 0
    assert shard.redis.hgetall(KEYS.suspects) == {first: "alice\nbob\ncarol\n", second: "bob\n"}


def test_an_entry_that_was_acknowledged_meanwhile_gets_no_mark(shard: Scripts) -> None:
    """Else it would stay: a consumer that slept before it marked the entry is not condemned, and nobody commits it."""
    (entry,) = shard.pending(1)
    shard.redis.xack(KEYS.stream, GROUP, entry)
    assert suspect(shard, entry, "sleeper") == 0
    assert not shard.redis.exists(KEYS.suspects)
