"""What answers remember does not outlive an erasure, whoever carries it out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from answering import service_of
from erasing import HOUR_MS, Erasing
from one_shard import HOUR, OneShard, one_shard
from time_series import measurement

from streamproc import DubbingMetricsService
from streamproc.core.windows import WindowKey
from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.collection import COLLECTION


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


async def segments(asked: DubbingMetricsService) -> tuple[int, int]:
    """Of a channel, and of all."""
    of_channel, of_all = await asked.get_hourly_metrics("kan-11", 48), await asked.get_last_hours(24)
    return sum(row.segments for row in of_channel.hours), sum(row.segments for row in of_all.hours)


async def test_remembered_sums_are_forgotten_when_an_erasure_has_gone_through(shard: OneShard) -> None:
    """Of hours that Redis has forgotten: there it could not be seen."""
    start_ms = int(HOUR.timestamp()) * 1000 - 5 * HOUR_MS
    windows = [WindowKey(start_ms, "kan-11", f"s-{user}", user) for user in ("dana", "noam")]
    await shard.measurements.insert([measurement(window, segments=3) for window in windows])
    asked = service_of(shard)
    assert await segments(asked) == (6, 6)
    await shard.database[COLLECTION].delete_many({"metadata.user_id": "noam"})
    assert await segments(asked) == (6, 6), "the test must remember something"
    erasing = Erasing(shard)
    await erasing.eraser.advance(await erasing.eraser.request("dana"))
    assert await segments(asked) == (0, 0)


async def test_an_erasure_that_found_nothing_costs_no_memory(shard: OneShard) -> None:
    start_ms = int(HOUR.timestamp()) * 1000 - 5 * HOUR_MS
    await shard.measurements.insert([measurement(WindowKey(start_ms, "kan-11", "s", "noam"), segments=3)])
    asked, erasing = service_of(shard), Erasing(shard)
    await segments(asked)
    await shard.database[COLLECTION].delete_many({})
    await erasing.eraser.advance(await erasing.eraser.request("dana"))
    assert await segments(asked) == (3, 3)


async def test_what_a_late_pass_finds_is_forgotten_too(shard: OneShard) -> None:
    asked, erasing = service_of(shard), Erasing(shard)
    await erasing.erase()
    start_ms = int(HOUR.timestamp()) * 1000 - 5 * HOUR_MS
    await shard.measurements.insert([measurement(WindowKey(start_ms, "kan-11", "s", "dana"), segments=3)])
    assert await segments(asked) == (3, 3)
    assert await erasing.eraser.erase_again() == 1
    assert await segments(asked) == (0, 0)
