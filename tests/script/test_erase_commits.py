"""What a commit refuses of an erased user, it also deletes; and what it leaves, it leaves for a reason."""

from __future__ import annotations

from streamproc.core.windows import WindowKey

from .conftest import DUE_MS, GROUP, KEYS, START_MS, WINDOW, Scripts

HASH = "hash-of-dana"


def refused(entry: str) -> list[tuple[WindowKey, int, str, list[tuple[str, str, str]]]]:
    return [(WINDOW, DUE_MS, HASH, [(entry, "s1", "")])]


def ids(shard: Scripts) -> list[str]:
    return [entry_id for entry_id, _ in shard.redis.xrange(KEYS.stream)]


def test_an_entry_that_is_refused_is_deleted_and_its_neighbours_stay(shard: Scripts) -> None:
    shard.redis.zadd(KEYS.erased, {HASH: START_MS})
    before, entry, letter, after = shard.pending(4)
    letters = [((letter, "malformed", "", HASH, 0), "{}")]
    assert shard.commit(refused(entry), dead=letters).acknowledged == {"erased": 2}
    assert ids(shard) == [before, after]
    assert shard.redis.xpending(KEYS.stream, GROUP)["pending"] == 2


def test_an_entry_that_waits_to_be_delivered_again_is_not_deleted(shard: Scripts) -> None:
    """A zombie commits what a group that was made again has still to deliver: only that delivery settles it."""
    (entry,) = shard.pending(1)
    shard.redis.xgroup_destroy(KEYS.stream, GROUP)
    shard.create_group()
    shard.redis.zadd(KEYS.erased, {HASH: START_MS})
    assert shard.commit(refused(entry)).acknowledged == {}
    assert ids(shard) == [entry]


def test_an_entry_that_a_stranger_deleted_is_refused_all_the_same(shard: Scripts) -> None:
    (entry,) = shard.pending(1)
    shard.redis.xdel(KEYS.stream, entry)
    shard.redis.zadd(KEYS.erased, {HASH: START_MS})
    assert shard.commit(refused(entry)).acknowledged == {"erased": 1}
