"""What docs/scaling.md shows is so: the slots of shards, the change of prefixes, the removal of old keys."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import orjson
import pytest
import redis
from pages import ROOT, read, table

from streamproc.core.commits import shard_of
from streamproc.embedded import EmbeddedServer
from streamproc.stores.redis.keys import ShardKeys
from streamproc.stores.redis.nodes import slot_of

PAGE = read("docs/scaling.md")


def block(language: str) -> str:
    """The one block of a language. It stands within a list."""
    _, _, rest = PAGE.partition(f"   ```{language}\n")
    return dedent(rest.partition("   ```\n")[0])


@pytest.fixture
def client(valkey: EmbeddedServer) -> Iterator[Any]:
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
        yield client


def run(command: list[str], server: EmbeddedServer) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "STREAMPROC_REDIS_URL": server.url}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_shards_are_in_the_slots_of_the_table() -> None:
    (slots,) = [row for row in table(PAGE) if row[0] == "slot"]
    assert [int(slot) for slot in slots[1:]] == [slot_of(ShardKeys("dubbing", number).stream) for number in range(8)]
    thirds = [slot * 3 // 16_384 for slot in map(int, slots[1:])]
    assert thirds == [2, 1, 1, 0, 2, 1, 1, 0]
    assert "the first has shards 3 and 7, the second 1, 2, 5 and 6, the third 0 and\n4." in PAGE


def test_segments_go_to_the_prefix_of_their_window(valkey: EmbeddedServer, client: Any) -> None:
    run([sys.executable, "-W", "error", "-c", block("python")], valkey)
    new = ShardKeys("dubbing-4", shard_of("session-1", 4)).stream
    found = {name: client.xrange(name) for name in ("dubbing:{0}:segments", new)}
    assert [orjson.loads(fields[b"data"])["segment_id"] for [(_, fields)] in found.values()] == ["1", "2"]


@pytest.mark.skipif(
    shutil.which("redis-cli") is None and os.environ.get("STREAMPROC_REQUIRE_TOOLS") != "1",
    reason="no redis-cli on PATH",
)
def test_the_keys_of_an_old_shard_are_removed_and_no_others(valkey: EmbeddedServer, client: Any) -> None:
    odd = ShardKeys("dubbing", 0).segments("2026010100:with space:sign 'x' \"y\" \\ $HOME *:ערוץ-12")
    for key in (ShardKeys("dubbing", 0).stream, odd, "dubbing:{1}:segments", "dubbing-4:{0}:segments"):
        client.set(key, "")
    run(["sh", "-c", block("sh")], valkey)
    assert sorted(client.keys()) == [b"dubbing-4:{0}:segments", b"dubbing:{1}:segments"]
