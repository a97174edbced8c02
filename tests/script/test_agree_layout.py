from __future__ import annotations

from .conftest import KEYS, Scripts


def agree(shard: Scripts, *layout: str) -> list[str]:
    return list(shard.run("agree_layout", [KEYS.layout], *layout))


def test_the_first_pod_s_layout_is_in_force_from_then_on(shard: Scripts) -> None:
    ours = ["shards", "1", "window_ms", "3600000"]
    assert agree(shard, *ours) == ours
    assert agree(shard, "shards", "2", "window_ms", "5000", "new", "1") == ours
    assert shard.dump() == {KEYS.layout: {"shards": "1", "window_ms": "3600000"}}
