from __future__ import annotations

from .conftest import KEYS, Scripts


def test_the_server_tells_of_its_memory_and_its_replicas(shard: Scripts) -> None:
    before_ms = shard.now_ms()
    now_ms, text = shard.run("server", [KEYS.stream])
    assert before_ms <= now_ms <= shard.now_ms()
    told = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    assert told["connected_slaves"] == "0"
    assert int(told["used_memory"]) > 100_000
    assert {"master_repl_offset", "maxmemory"} <= told.keys()
