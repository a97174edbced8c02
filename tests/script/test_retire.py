from __future__ import annotations

import pytest

from .conftest import GROUP, KEYS, Scripts

HOUR_MS = 3_600_000


def retire(shard: Scripts, idle_ms: int = 0, only: str = "") -> list[str]:
    removed: list[str] = shard.run("retire", [KEYS.stream], GROUP, idle_ms, only)
    before = shard.dump()
    assert shard.run("retire", [KEYS.stream], GROUP, idle_ms, only) == []
    assert shard.dump() == before
    return sorted(removed)


def consumers(shard: Scripts) -> list[str]:
    return sorted(consumer["name"] for consumer in shard.redis.xinfo_consumers(KEYS.stream, GROUP))


@pytest.fixture
def staffed(shard: Scripts) -> Scripts:
    """Alice has an entry pending; bob and carol have none."""
    shard.pending(1)
    for name in ("bob", "carol"):
        shard.redis.xgroup_createconsumer(KEYS.stream, GROUP, name)
    return shard


def test_consumers_with_nothing_pending_are_removed_and_the_others_stay(staffed: Scripts) -> None:
    assert retire(staffed) == ["bob", "carol"]
    assert consumers(staffed) == ["alice"]
    assert staffed.redis.xpending(KEYS.stream, GROUP)["pending"] == 1


def test_consumers_that_were_here_lately_stay(staffed: Scripts) -> None:
    assert retire(staffed, idle_ms=HOUR_MS) == []
    assert consumers(staffed) == ["alice", "bob", "carol"]


def test_a_consumer_that_leaves_removes_itself_alone(staffed: Scripts) -> None:
    assert retire(staffed, only="bob") == ["bob"]
    assert consumers(staffed) == ["alice", "carol"]


def test_a_consumer_that_leaves_with_entries_pending_stays(staffed: Scripts) -> None:
    assert retire(staffed, only="alice") == []
    assert consumers(staffed) == ["alice", "bob", "carol"]


@pytest.mark.parametrize("has_stream", [False, True], ids=["no stream", "no group"])
def test_without_a_group_there_is_nobody_to_remove(shard: Scripts, has_stream: bool) -> None:
    if has_stream:
        shard.add("*")
    assert retire(shard) == []
