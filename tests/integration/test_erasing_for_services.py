"""`gdpr_delete_user_dubbing_data` as a service calls it: with clients of its own or with settings alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import orjson
import pymongo
import pytest
import redis as blocking_redis
from answering import CLIENTS
from erasing import traces
from pods import Pods, pods, until
from pymongo import AsyncMongoClient
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel

from streamproc import gdpr_delete_user_dubbing_data
from streamproc.app.settings import Settings
from streamproc.embedded import EmbeddedServer
from streamproc.stores.redis.shard import LayoutMismatch

KEY = "a key of more than sixteen characters"
SETTINGS = {"FUTURE_TOLERANCE_SECONDS": "1", "FLUSH_VISIBILITY_SECONDS": "0.3", "ERASURE_KEY": KEY}


@pytest.fixture
async def system(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    async with pods(valkey.url, mongod.url, **SETTINGS) as one:
        yield one


class Clients:
    """Of a service that has nothing to do with streamproc."""

    def __init__(self, system: Pods, **options: Any) -> None:
        settings = system.settings
        self.redis: Any = Redis.from_url(settings.redis_url.get_secret_value(), **options)
        self.mongodb: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(settings.mongodb_url.get_secret_value())
        self.database = self.mongodb[settings.mongodb_database]


@asynccontextmanager
async def clients(system: Pods, **options: Any) -> AsyncIterator[Clients]:
    one = Clients(system, **options)
    try:
        yield one
    finally:
        await one.redis.aclose()
        await one.mongodb.close()


async def publish(system: Pods, number: int = 3) -> str:
    """Segments of a person nobody else is, counted before this returns."""
    user, before = f"dana-{uuid4().hex}", await system.counted()
    for name in range(number):
        one = {"segment_id": str(name), "channel_id": "kan-11", "session_id": f"of-{user}", "user_id": user}
        times = {"extraction_ms": 1, "dubbing_ms": 2, "reinsertion_ms": 3, "received_at": datetime.now(UTC)}
        system.add("data", orjson.dumps({**one, **times, "source_language": "he", "target_language": "en"}))

    async def counted() -> bool:
        return await system.counted() == before + number

    await until(counted, system.logs)
    return user


async def test_it_returns_after_the_first_pass_and_workers_complete_it(system: Pods) -> None:
    await system.start()
    user = await publish(system)
    async with clients(system) as own:
        receipt = await gdpr_delete_user_dubbing_data(user, own.database, own.redis, settings=system.settings)
        assert (receipt["state"], receipt["redis_segments_deleted"]) == ("under way", 3)
        assert {"sessions_deleted", "session_ids", "timeseries_docs_deleted"} <= receipt.keys()
        assert orjson.loads(orjson.dumps(receipt)) == receipt
        assert await traces(user, system.redis, system.database) == []

        async def completed() -> bool:
            kept = await own.database["erasures"].find_one({"_id": receipt["erasure"]})
            return kept is not None and "completed_at" in kept

        await until(completed, system.logs)
        assert await own.redis.ping()  # the caller's clients are left open


async def test_with_any_client_it_waits_until_it_is_complete(system: Pods) -> None:
    worker = await system.start()
    users = {kind: await publish(system) for kind in CLIENTS}
    await worker.stop()
    for kind, user in users.items():
        async with clients(system, **CLIENTS[kind]) as own:
            options: dict[str, Any] = {"settings": system.settings, "wait": True}
            receipt = await gdpr_delete_user_dubbing_data(user, own.database, own.redis, **options)
            again = await gdpr_delete_user_dubbing_data(user, own.database, own.redis, **options)
        assert (receipt["state"], receipt["redis_segments_deleted"]) == ("complete", 3), kind
        assert (again["state"], again["redis_segments_deleted"]) == ("complete", 0), kind
        assert await traces(user, system.redis, system.database) == [], kind


async def test_without_clients_it_connects_as_the_environment_says(
    system: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    await system.start()
    user = await publish(system)
    for name, value in system.variables.items():
        monkeypatch.setenv(name, value)
    receipt = await gdpr_delete_user_dubbing_data(user)
    assert receipt["redis_segments_deleted"] == 3
    assert await traces(user, system.redis, system.database) == []


async def test_a_call_that_is_cancelled_is_completed_by_the_workers(system: Pods) -> None:
    await system.start()
    user = await publish(system)
    patient = Settings(**{**system.settings.model_dump(), "flush_visibility_seconds": 60})
    call = asyncio.create_task(gdpr_delete_user_dubbing_data(user, settings=patient, wait=True))

    async def first_pass_is_through() -> bool:
        return await system.database["erasures"].find_one({"first_pass_at": {"$exists": True}}) is not None

    await until(first_pass_is_through)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    async def completed() -> bool:
        return await system.database["erasures"].count_documents({"completed_at": {"$exists": True}}) == 1

    await until(completed, system.logs)


# What cannot be


async def test_with_another_key_than_the_workers_nothing_is_begun(system: Pods) -> None:
    await system.start()
    await publish(system)
    other = Settings(**{**system.settings.model_dump(), "erasure_key": KEY[::-1]})
    with pytest.raises(LayoutMismatch, match="another ERASURE_KEY"):
        await gdpr_delete_user_dubbing_data("dana", settings=other)
    assert await system.database["erasures"].count_documents({}) == 0


async def test_without_a_key_it_says_how_to_make_one(system: Pods) -> None:
    without = Settings(**{**system.settings.model_dump(), "erasure_key": ""})
    with pytest.raises(ValueError, match=r"STREAMPROC_ERASURE_KEY is not set.*Make one with"):
        await gdpr_delete_user_dubbing_data("dana", settings=without)


@pytest.mark.parametrize("user_id", ["", None, 17])
async def test_what_is_no_id_is_refused(system: Pods, user_id: Any) -> None:
    with pytest.raises(ValueError, match="user_id must be a text that is not empty"):
        await gdpr_delete_user_dubbing_data(user_id, settings=system.settings)


async def test_another_database_than_the_workers_is_refused(system: Pods) -> None:
    async with clients(system) as own:
        with pytest.raises(ValueError, match="db is 'elsewhere', and the workers' database is"):
            await gdpr_delete_user_dubbing_data("dana", own.mongodb["elsewhere"], settings=system.settings)


async def test_clients_of_another_kind_are_refused_with_the_remedy(system: Pods) -> None:
    url = system.settings.redis_url.get_secret_value()
    mongodb: Any = pymongo.MongoClient(system.settings.mongodb_url.get_secret_value())
    with mongodb, pytest.raises(ValueError, match=r"db must be a database of pymongo's AsyncMongoClient.*leave it out"):
        await gdpr_delete_user_dubbing_data("dana", mongodb["dubbing"], settings=system.settings)
    cluster = cast("Any", RedisCluster.from_url(url))
    sentinel = Sentinel([("127.0.0.1", 1)]).master_for("primary")
    for client in (blocking_redis.Redis.from_url(url), cluster, sentinel):
        with pytest.raises(ValueError, match=r"redis_client must be a redis\.asyncio\.Redis.*leave it out"):
            await gdpr_delete_user_dubbing_data("dana", redis_client=cast("Any", client), settings=system.settings)
    await sentinel.aclose()
    of_cluster = Settings(**{**system.settings.model_dump(), "redis_cluster": True})
    with pytest.raises(ValueError, match="for a cluster leave redis_client out"):
        await gdpr_delete_user_dubbing_data("dana", redis_client=Redis.from_url(url), settings=of_cluster)
