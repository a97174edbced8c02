"""Changing SHARDS as docs/scaling.md says: each window belongs to one prefix, so nothing is stored wrong."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
import pytest
from pods import Pods, pods, until

from streamproc import SegmentPublisher
from streamproc.demo.simulation import Shares, Simulation
from streamproc.embedded import EmbeddedServer
from streamproc.stores.redis.shard import LayoutMismatch, Shard

#: What publishers send, much of it late.
SHARES = Shares(late=0.2, duplicate=0.1, malformed=0, too_late=0, future=0, flat_fields=0, unknown_fields=0)
SETTINGS = {"ERASURE_KEY": "a key of more than sixteen characters", "FUTURE_TOLERANCE_SECONDS": "1"}
_TICK_S = 0.1
_PER_TICK = 20


class Change(NamedTuple):
    """The same MongoDB, and in Redis a prefix with one shard, and another with three."""

    old: Pods
    new: Pods


@pytest.fixture
async def change(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Change]:
    async with pods(valkey.url, mongod.url, **SETTINGS) as old:
        same = {"MONGODB_DATABASE": old.settings.mongodb_database}
        async with pods(valkey.url, mongod.url, SHARDS="3", **SETTINGS, **same) as new:
            yield Change(old, new)


def publisher_of(system: Pods) -> SegmentPublisher:
    settings = system.settings
    return SegmentPublisher(system._client, prefix=settings.prefix, shards=settings.shards)


async def run(system: Pods, *arguments: str) -> tuple[int, Any]:
    """A command: exit code, and the JSON that it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamproc", *arguments, "--json"),
        env={**os.environ, **system.variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate()
    assert out, said.decode()
    return process.returncode or 0, orjson.loads(out)


def segment(name: str, received_at: datetime, user: str = "dana") -> dict[str, Any]:
    return {
        "segment_id": name,
        "channel_id": "kan-11",
        "session_id": "session-1",
        "user_id": user,
        "received_at": received_at,
        "extraction_ms": 45,
        "dubbing_ms": 1100,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
    }


async def publish_until(change: Change, switch: datetime, end: datetime) -> int:
    """Publish each segment to the prefix of its window. Returns how many went to the old one after the switch."""
    old, new = publisher_of(change.old), publisher_of(change.new)
    windowing = change.old.settings.windowing
    simulation = Simulation(
        7,
        window_ms=windowing.length_ms,
        grace_ms=windowing.grace_ms,
        horizon_ms=windowing.horizon_ms,
        future_ms=windowing.future_ms,
        shares=SHARES,
    )
    late = 0
    while (now := datetime.now(UTC)) < end:
        batch = list(simulation.batch(time.time_ns() // 1_000_000, _PER_TICK))
        before = [one.event for one in batch if one.event["received_at"] < switch]
        await old.publish_many(before)
        await new.publish_many(one.event for one in batch if one.event["received_at"] >= switch)
        for one in batch:
            change.old.oracle.record(one.kind, one.event)
        late += len(before) if now > switch else 0
        await asyncio.sleep(_TICK_S)
    return late


async def test_where_each_window_belongs_to_one_prefix_every_hour_is_exact(change: Change) -> None:
    await asyncio.gather(change.old.start(), change.new.start())
    length = timedelta(seconds=change.old.settings.window_seconds)
    now_s = time.time() // length.seconds * length.seconds
    switch = datetime.fromtimestamp(now_s, UTC) + 2 * length
    late = await publish_until(change, switch, switch + 2 * length)

    for system in change:
        await system.settle()
        assert await system.counted() > 0
    assert late > 0
    assert await change.old.differences() == []
    for system in change:
        assert (await run(system, "audit"))[0] == 0


async def test_a_window_in_both_prefixes_is_stored_wrong_and_the_audit_finds_it(change: Change) -> None:
    now = datetime.now(UTC)
    await publisher_of(change.old).publish_many(segment(f"old-{number}", now) for number in range(3))
    await publisher_of(change.new).publish_many(segment(f"new-{number}", now) for number in range(2))
    await change.old.start()
    await change.old.settle()
    await change.new.start()
    await change.new.settle()
    (document,) = await change.old.documents()
    assert document["segments_processed"] == 3
    code, audit = await run(change.new, "audit")
    findings = [finding["kind"] for shard in audit["shards"] for finding in shard["findings"]]
    assert (code, findings) == (1, ["shrunk"])


async def test_a_person_is_erased_from_both_prefixes_by_a_run_with_each(change: Change) -> None:
    now = datetime.now(UTC)
    await publisher_of(change.old).publish_many([segment("1", now - timedelta(seconds=4)), segment("2", now, "ron")])
    await publisher_of(change.new).publish_many([segment("3", now)])
    for system in change:
        await system.start()
        await system.settle()
    for system in change:
        code, receipt = await run(system, "erase", "--user", "dana")
        assert (code, receipt["redis_segments_deleted"]) == (0, 1)
    for system in change:
        assert (await run(system, "erase", "--user", "dana", "--verify"))[0] == 0
    assert [document["metadata"]["user_id"] for document in await change.old.documents()] == ["ron"]


async def test_another_number_of_shards_under_the_same_prefix_is_refused_and_the_page_named(change: Change) -> None:
    await change.old.start()

    async def is_made() -> bool:
        return bool(change.old.redis.exists(change.old.keys.layout))

    await until(is_made)
    shard = Shard(change.old._client, prefix=change.old.settings.prefix)
    with pytest.raises(LayoutMismatch, match=r"shards is 1 there and 3 here.*docs/scaling\.md"):
        await shard.agree_on_layout(shards=3, window_ms=change.old.settings.windowing.length_ms)
