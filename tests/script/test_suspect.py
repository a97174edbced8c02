from __future__ import annotations

from .conftest import KEYS, Scripts


def suspect(shard: Scripts, entry_id: str, consumer: str) -> str:
    return str(shard.run("suspect", [KEYS.suspects], entry_id, consumer))


def test_the_first_mark_is_written_and_the_next_names_who_wrote_it(shard: Scripts) -> None:
    assert suspect(shard, "1-0", "alice") == ""
    assert suspect(shard, "1-0", "bob") == "alice"
    assert suspect(shard, "2-0", "bob") == ""
    assert shard.redis.hgetall(KEYS.suspects) == {"1-0": "alice", "2-0": "bob"}
