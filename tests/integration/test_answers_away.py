"""Questions while a server is away, gone or frozen: the rest is answered, soon, and the answer says what is missing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from answering import QUESTIONS, service_of
from one_shard import HOUR, OneShard, one_shard, segment
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from streamproc import DubbingMetricsService
from streamproc.core.windows import Windowing
from streamproc.embedded import EmbeddedServer, start_mongod, start_valkey
from streamproc.stores.mongo.collection import COLLECTION

#: Far above the promised three seconds: what hangs is found, a laden machine is not.
PATIENCE_S = 20.0
NOWHERE = "127.0.0.1:9"

every_question = pytest.mark.parametrize("question", QUESTIONS)


@pytest.fixture(scope="module")
def own_valkey() -> Iterator[EmbeddedServer]:
    with start_valkey() as server:
        yield server


@pytest.fixture(scope="module")
def own_mongod() -> Iterator[EmbeddedServer]:
    with start_mongod() as server:
        yield server


@pytest.fixture
async def shard(
    own_valkey: EmbeddedServer, own_mongod: EmbeddedServer, mongo_database_name: str
) -> AsyncIterator[OneShard]:
    async with one_shard(own_valkey.url, own_mongod.url, mongo_database_name) as one:
        yield one


@contextmanager
def frozen(server: EmbeddedServer) -> Iterator[None]:
    """It takes connections, and never answers."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def in_time(question: Any) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        return await question


async def every_answer(asked: DubbingMetricsService) -> list[Any]:
    """To every question but that for segments, which Redis alone holds."""
    return [
        await in_time(question)
        for question in (
            asked.get_hourly_metrics("kan-11"),
            asked.get_daily_trends("kan-11"),
            asked.get_user_activity("dana"),
            asked.get_session_hours("s-1"),
            asked.get_channels(),
            asked.get_last_hours(),
        )
    ]


def layers(answer: Any) -> list[str]:
    return [one.layer for one in answer.missing]


@every_question
async def test_with_redis_frozen_what_is_stored_is_answered(
    shard: OneShard, own_valkey: EmbeddedServer, question: str
) -> None:
    await shard.store("a", "b")
    with frozen(own_valkey):
        (row,) = await in_time(QUESTIONS[question](service_of(shard)))
    assert (row.segments, row.state) == (2, "final")


@every_question
async def test_with_mongodb_frozen_what_redis_holds_is_answered_stored_or_not(
    shard: OneShard, own_mongod: EmbeddedServer, question: str
) -> None:
    await shard.store("a", "b")
    with frozen(own_mongod):
        (row,) = await in_time(QUESTIONS[question](service_of(shard)))
        assert (row.segments, row.state) == (2, "final")
        await shard.count("late")
        (row,) = await in_time(QUESTIONS[question](service_of(shard)))
        assert (row.segments, row.state) == (3, "rolling")


async def test_every_answer_says_which_layer_is_missing_and_why(
    shard: OneShard, own_valkey: EmbeddedServer, own_mongod: EmbeddedServer
) -> None:
    with frozen(own_valkey):
        for answer in await every_answer(service_of(shard)):
            assert layers(answer) == ["redis"]
            assert "does not answer in time" in answer.missing[0].reason
        assert layers(await in_time(service_of(shard).get_recent_segments("kan-11"))) == ["redis"]
    asked = service_of(shard)
    with frozen(own_mongod):
        for answer in await every_answer(asked):
            assert layers(answer) == ["mongodb"]
            assert "does not answer in time" in answer.missing[0].reason
        assert layers(await in_time(asked.get_recent_segments("kan-11"))) == []
    assert [layers(answer) for answer in await every_answer(asked)] == [[]] * 6


async def test_with_both_gone_every_question_says_so_and_raises_nothing() -> None:
    async with AsyncMongoClient[dict[str, Any]](f"mongodb://user:hidden-1@{NOWHERE}/?authSource=admin") as mongodb:
        client: Any = Redis.from_url(f"redis://:hidden-2@{NOWHERE}/0")
        settings = SimpleNamespace(prefix="dubbing", shards=3, group="streamproc", windowing=Windowing())
        asked = DubbingMetricsService(client, mongodb["dubbing"], settings)
        for answer in await every_answer(asked):
            assert layers(answer) == ["redis", "mongodb"]
            assert "hidden" not in str(answer)
        answer = await in_time(asked.get_recent_segments("kan-11"))
        assert (layers(answer), answer.segments) == (["redis"], [])
        await client.aclose()


async def test_what_was_answered_in_part_is_not_remembered(shard: OneShard, own_mongod: EmbeddedServer) -> None:
    await shard.store("a")
    shard.redis.flushall()
    await shard.stream("nobody").ensure_group()
    shard.publish(segment("b", "s-2", received_at=HOUR))
    await shard.consume_all()
    asked = service_of(shard)
    with frozen(own_mongod):
        (row,) = (await in_time(asked.get_hourly_metrics("kan-11"))).hours
        assert row.segments == 1
    (row,) = (await asked.get_hourly_metrics("kan-11")).hours
    assert row.segments == 2


async def test_with_mongodb_frozen_what_is_remembered_is_answered_without_it(
    shard: OneShard, own_mongod: EmbeddedServer
) -> None:
    await shard.store("a")
    await shard.database[COLLECTION].delete_many({"metadata.session_id": "none"})
    asked = service_of(shard)
    first = await asked.get_hourly_metrics("kan-11")
    with frozen(own_mongod):
        again = await in_time(asked.get_hourly_metrics("kan-11"))
    assert (again.hours, again.missing) == (first.hours, [])
