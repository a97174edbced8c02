"""The scripts as Redis runs them: KEYS and ARGV laid out by hand, the whole state read back.

Two things hold for every run in this folder, without a test having to ask for them: a script may touch no key that is
not in its KEYS (it runs as a user who is allowed those alone), and a commit is carried out twice and must change
nothing the second time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import pytest
import redis

from streamproc.core.windows import Windowing, WindowKey
from streamproc.stores.redis import scripts
from streamproc.stores.redis.keys import ShardKeys

GROUP = "streamproc"
KEYS = ShardKeys("dubbing", 0)
WINDOWING = Windowing()
HOUR_MS = WINDOWING.length_ms
#: 2026-01-23 10:00 UTC
START_MS = 1_769_162_400_000
WINDOW = WindowKey(START_MS, "kan-11", "session-7", "dana")
NAME = WINDOWING.name(WINDOW)
DUE_MS = WINDOWING.due_at(START_MS, START_MS)

KEYS_OF_SHARD = (KEYS.stream, KEYS.open, KEYS.closed, KEYS.ledger, KEYS.dead, KEYS.erased, KEYS.suspects)
_TERMS = ("counted", "duplicates", "dead_lettered", "erased", "forwarded", "lost")
_pack = msgspec.msgpack.Encoder().encode
_source = lru_cache(scripts.source)


class Committed(NamedTuple):
    """What a commit answered; `acknowledged` without the zeros."""

    acknowledged: dict[str, int]
    uncounted: list[int]
    dead_written: list[int]


class UnindexedError(Exception):
    """The commit did nothing: these windows, from 1, are new, and their indexes were not named."""


class Scripts:
    """One shard on a real server, and its scripts."""

    def __init__(self, url: str) -> None:
        self.redis: Any = redis.Redis.from_url(url, decode_responses=True)
        self.redis.acl_setuser("declared", enabled=True, nopass=True, commands=["+@all"], reset=True)
        self._declared: Any = redis.Redis.from_url(url, decode_responses=True, username="declared", password="any")

    def close(self) -> None:
        self._declared.close()
        self.redis.close()

    def run(self, name: str, keys: Sequence[str], *args: Any) -> Any:
        """Run a script as a user who may touch its KEYS and no others."""
        self.redis.acl_setuser("declared", reset_keys=True, keys=keys, enabled=True)
        return self._declared.execute_command("EVAL", _source(name), len(keys), *keys, *args)

    def now_ms(self) -> int:
        seconds, microseconds = self.redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    # Arranging

    def create_group(self) -> None:
        self.redis.xgroup_create(KEYS.stream, GROUP, "0", mkstream=True)

    def add(self, *entry_ids: str) -> list[str]:
        """Add entries, at these ids or (given '*') at Redis' own."""
        pipeline = self.redis.pipeline(transaction=False)
        for entry_id in entry_ids:
            pipeline.xadd(KEYS.stream, {"data": "{}"}, id=entry_id)
        return list(pipeline.execute())

    def deliver(self, count: int, consumer: str = "alice") -> list[str]:
        """Have undelivered entries read: they are pending now."""
        reply = self.redis.xreadgroup(GROUP, consumer, {KEYS.stream: ">"}, count)
        return [entry_id for entry_id, _ in reply[0][1]]

    def pending(self, count: int) -> list[str]:
        """A stream with the group and `count` entries that 'alice' is at."""
        if not self.redis.exists(KEYS.stream):
            self.create_group()
        self.add(*["*"] * count)
        return self.deliver(count)

    def set_open(self, **due_ms: int) -> None:
        self.redis.zadd(KEYS.open, due_ms)

    # Acting

    def commit(
        self,
        windows: Sequence[tuple[WindowKey, int, str, Sequence[tuple[str, str, str]]]] = (),
        dead: Sequence[tuple[tuple[Any, ...], str]] = (),
        forwarded: Sequence[str] = (),
        lost: Sequence[str] = (),
        known: Collection[WindowKey] = (),
    ) -> Committed:
        """Commit, and commit again, as after a lost reply: that changes nothing.

        Args:
            windows: window, due_ms, user_hash, [(entry id, segment id, detail), ...]
            dead: (entry id, reason, detail, user_hash, start_ms), payload
            known: windows whose indexes are not named

        Raises:
            UnindexedError: one of `known` is new after all.
        """
        keys, indexes = list(KEYS_OF_SHARD), list[str]()
        packed = []
        for window, due_ms, user_hash, entries in windows:
            name = WINDOWING.name(window)
            of_window = KEYS.window(name)
            keys.append(of_window.segments)
            indexes += (of_window.channel, of_window.user)
            index = 0 if window in known else len(KEYS_OF_SHARD) + len(windows) + len(indexes) - 1
            packed.append((name, window.start_ms, due_ms, user_hash, len(entries), index))
        columns = list(zip(*(entry for window in windows for entry in window[3]), strict=True)) or [(), (), ()]
        letters, payloads = [letter for letter, _ in dead], [payload for _, payload in dead]
        args = (GROUP, _pack((packed, *columns, letters, forwarded, lost)), *payloads)
        answer = self.run("commit", [*keys, *indexes], *args)
        if len(answer) == 1:
            raise UnindexedError(answer[0])
        acknowledged, uncounted, dead_written = answer
        before = self.dump()
        again, _, dead_again = self.run("commit", [*keys, *indexes], *args)
        assert (again, dead_again) == ([0] * len(_TERMS), [])
        assert self.dump() == before
        named = {term: count for term, count in zip(_TERMS, acknowledged, strict=True) if count}
        return Committed(named, uncounted, dead_written)

    def count(self, *segments: str, window: WindowKey = WINDOW, due_ms: int = DUE_MS) -> Committed:
        """Add, deliver and commit an entry for each segment of one window."""
        ids = self.pending(len(segments))
        entries = [(i, segment, f"<{segment}>") for i, segment in zip(ids, segments, strict=True)]
        return self.commit([(window, due_ms, "", entries)])

    # Looking

    def open(self) -> dict[str, float]:
        return dict(self.redis.zrange(KEYS.open, 0, -1, withscores=True))

    def taken(self) -> dict[str, float]:
        return dict(self.redis.zrange(KEYS.taken, 0, -1, withscores=True))

    def closed(self) -> dict[str, float]:
        return dict(self.redis.zrange(KEYS.closed, 0, -1, withscores=True))

    def ledger(self) -> dict[str, str]:
        return dict(self.redis.hgetall(KEYS.ledger))

    def segments(self, window: WindowKey = WINDOW) -> dict[str, str]:
        return dict(self.redis.hgetall(KEYS.window(WINDOWING.name(window)).segments))

    def dump(self) -> dict[str, Any]:
        return dump(self.redis)


def dump(client: Any) -> dict[str, Any]:
    """Everything a server holds, but for the time that entries and consumers have been idle."""
    return {key: _READ[client.type(key)](client, key) for key in sorted(client.keys())}


def _read_stream(client: Any, key: str) -> dict[str, Any]:
    info = client.xinfo_stream(key)
    groups = {}
    for group in client.xinfo_groups(key):
        pending = client.xpending_range(key, group["name"], "-", "+", 100_000)
        groups[group["name"]] = (
            group["last-delivered-id"],
            [(entry["message_id"], entry["consumer"], entry["times_delivered"]) for entry in pending],
            sorted(consumer["name"] for consumer in client.xinfo_consumers(key, group["name"])),
        )
    return {
        "entries": client.xrange(key),
        "added": info["entries-added"],
        "last": info["last-generated-id"],
        "groups": groups,
    }


_READ: dict[str, Any] = {
    "string": lambda client, key: client.get(key),
    "hash": lambda client, key: client.hgetall(key),
    "set": lambda client, key: client.smembers(key),
    "zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    "stream": _read_stream,
}


@pytest.fixture
def shard(redis_url: str) -> Iterator[Scripts]:
    """An empty shard on each server in turn."""
    scripted = Scripts(redis_url)
    yield scripted
    scripted.close()
