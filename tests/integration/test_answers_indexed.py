"""No question makes MongoDB go through all measurements: what the server itself says of every query a service sends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from answering import service
from one_shard import OneShard, one_shard, segment
from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandListener

from streamproc.embedded import EmbeddedServer

_ASKED = ("find", "aggregate")
_KEPT = ("find", "filter", "projection", "sort", "limit", "aggregate", "pipeline", "cursor")


class Listener(CommandListener):
    """Notes every query."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: Any) -> None:
        if event.command_name in _ASKED:
            self.commands.append({name: event.command[name] for name in _KEPT if name in event.command})

    def succeeded(self, event: Any) -> None:
        """Of no interest."""

    def failed(self, event: Any) -> None:
        """Of no interest."""


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


async def test_every_query_goes_by_an_index_or_by_time(shard: OneShard, mongod: EmbeddedServer) -> None:
    for number in range(40):
        shard.publish(segment("a", f"s-{number}", channel_id=f"kan-{number % 4}", user_id=f"user-{number}"))
    await shard.consume_all()
    while await shard.flusher().run_once() or shard.redis.zcard(shard.keys.open):
        pass
    listener = Listener()
    async with AsyncMongoClient[dict[str, Any]](mongod.url, event_listeners=[listener]) as client:
        asked = service(shard.client, client[shard.database.name])
        await asked.get_hourly_metrics("kan-1")
        await asked.get_daily_trends("kan-1", 30)
        await asked.get_user_activity("user-1")
        await asked.get_session_hours("s-1")
        await asked.get_channels()
        await asked.get_last_hours()
        await asked.get_last_hours()
        await asked._seam.measurements.of_windows(set(await _windows(asked)))
    plans = [await shard.database.command("explain", command) for command in listener.commands]
    kinds = [sorted(_stages(plan)) for plan in plans]
    by = [next(iter(set(stages) & {"IXSCAN", "CLUSTERED_IXSCAN"}), json.dumps(stages)) for stages in kinds]
    assert set(by) == {"IXSCAN", "CLUSTERED_IXSCAN"}
    assert not any("COLLSCAN" in stages for stages in kinds)
    used = {name for plan in plans for name in _values(plan, "indexName")}
    assert used == {f"metadata.{name}_1_timestamp_-1" for name in ("channel_id", "user_id", "session_id")}


async def _windows(asked: Any) -> list[Any]:
    sight = await asked._seam.look(lambda reader: reader.of_channel("kan-1", 0, 2**43))
    return [one.stand.key for one in sight.seen]


def _stages(plan: Any) -> Iterator[str]:
    return _values(plan, "stage")


def _values(plan: Any, name: str) -> Iterator[Any]:
    """Every value under a name, however deep."""
    if isinstance(plan, dict):
        if name in plan:
            yield plan[name]
        for value in plan.values():
            yield from _values(value, name)
    elif isinstance(plan, list):
        for value in plan:
            yield from _values(value, name)
