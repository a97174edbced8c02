"""The collection of measurements is made as designed, by however many at once, and never confused with another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.collection import (
    COLLECTION,
    CollectionMismatch,
    ServerTooOld,
    check_version,
    ensure_collection,
)
from streamproc.stores.mongo.connect import connect

Database = AsyncDatabase[dict[str, Any]]

AS_DESIGNED: dict[str, Any] = {
    "timeseries": {"timeField": "timestamp", "metaField": "metadata", "granularity": "minutes"},
    "expireAfterSeconds": 7_776_000,
}


@pytest.fixture
async def database(mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[Database]:
    async with connect(mongod.url, app_name="tests") as client:
        yield client[mongo_database_name]


async def reported(database: Database) -> dict[str, Any]:
    """What the server says of the collection."""
    collections = await (await database.list_collections(filter={"name": COLLECTION})).to_list()
    assert len(collections) == 1
    return dict(collections[0])


async def indexed(database: Database) -> list[dict[str, int]]:
    return sorted(
        (dict(index["key"]) for index in await (await database[COLLECTION].list_indexes()).to_list()), key=str
    )


def differing(**options: Any) -> dict[str, Any]:
    """The designed options but for `options`; None leaves one out."""
    expiry = options.pop("expireAfterSeconds", AS_DESIGNED["expireAfterSeconds"])
    timeseries = {name: value for name, value in (AS_DESIGNED["timeseries"] | options).items() if value is not None}
    return {"timeseries": timeseries} | ({} if expiry is None else {"expireAfterSeconds": expiry})


async def test_collection_is_made_with_the_designed_options(database: Database) -> None:
    await ensure_collection(database)
    collection = await reported(database)
    assert collection["type"] == "timeseries"
    assert collection["options"]["expireAfterSeconds"] == 7_776_000
    timeseries = collection["options"]["timeseries"]
    # A bucket expires as a whole: one day at most, or measurements outlive their 90 days by as long as it spans.
    assert timeseries == AS_DESIGNED["timeseries"] | {"bucketMaxSpanSeconds": 86_400}


async def test_each_identifier_is_indexed_together_with_the_time(database: Database) -> None:
    await ensure_collection(database)
    assert await indexed(database) == [
        {"metadata.channel_id": 1, "timestamp": -1},
        {"metadata.session_id": 1, "timestamp": -1},
        {"metadata.user_id": 1, "timestamp": -1},
    ]


async def test_ensuring_twice_changes_nothing(database: Database) -> None:
    await ensure_collection(database)
    before = await reported(database), await indexed(database)
    await ensure_collection(database)
    assert (await reported(database), await indexed(database)) == before


async def test_ten_pods_may_ensure_it_at_once(mongod: EmbeddedServer, database: Database) -> None:
    clients = [connect(mongod.url, app_name=f"pod-{pod}") for pod in range(10)]
    await asyncio.gather(*(ensure_collection(client[database.name]) for client in clients))
    assert (await reported(database))["options"]["timeseries"]["granularity"] == "minutes"
    assert len(await indexed(database)) == 3
    await asyncio.gather(*(client.close() for client in clients))


async def test_missing_index_is_made_again(database: Database) -> None:
    await ensure_collection(database)
    await database[COLLECTION].drop_index([("metadata.user_id", 1), ("timestamp", -1)])
    await ensure_collection(database)
    assert len(await indexed(database)) == 3


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({}, "type: expected 'timeseries', found 'collection'"),
        ({"viewOn": "elsewhere", "pipeline": []}, "type: expected 'timeseries', found 'view'"),
        (differing(timeField="ts"), "timeField: expected 'timestamp', found 'ts'"),
        (differing(metaField="meta"), "metaField: expected 'metadata', found 'meta'"),
        (differing(metaField=None), "metaField: expected 'metadata', found None"),
        (differing(granularity="hours"), "granularity: expected 'minutes', found 'hours'"),
        (differing(expireAfterSeconds=60), "expireAfterSeconds: expected 7776000, found 60"),
        (differing(expireAfterSeconds=None), "expireAfterSeconds: expected 7776000, found None"),
    ],
)
async def test_other_collection_is_refused_and_left_alone(
    database: Database, options: dict[str, Any], difference: str
) -> None:
    await database.create_collection(COLLECTION, **options)
    before = await reported(database)
    with pytest.raises(CollectionMismatch) as refusal:
        await ensure_collection(database)
    assert difference in str(refusal.value)
    assert "STREAMPROC_MONGODB_DATABASE" in str(refusal.value)
    assert f"{database.name}.{COLLECTION}" in str(refusal.value)
    assert await reported(database) == before


async def test_every_difference_is_named_at_once(database: Database) -> None:
    await database.create_collection(COLLECTION, **differing(timeField="ts", granularity="seconds"))
    with pytest.raises(CollectionMismatch, match=r"timeField: .* 'ts'; granularity: .* 'seconds'"):
        await ensure_collection(database)


async def test_wrong_expiry_is_cured_by_the_command_in_the_message(database: Database) -> None:
    await database.create_collection(COLLECTION, **differing(expireAfterSeconds=60))
    with pytest.raises(CollectionMismatch) as refusal:
        await ensure_collection(database)
    assert '{collMod: "dubbing_metrics_ts", expireAfterSeconds: 7776000}' in str(refusal.value)
    await database.command({"collMod": "dubbing_metrics_ts", "expireAfterSeconds": 7_776_000})
    await ensure_collection(database)


@pytest.mark.parametrize("version", [(4, 4, 29, 0), (5, 0, 4, 0), (5, 0, 4), (3, 6)])
def test_too_old_server_is_refused_by_name(version: tuple[int, ...]) -> None:
    name = ".".join(map(str, version[:3]))
    with pytest.raises(ServerTooOld, match=rf"MongoDB {name} is too old.*5\.0\.5 or newer"):
        check_version(version)


@pytest.mark.parametrize("version", [(5, 0, 5, 0), (5, 0, 31, 0), (6, 0, 5, 0), (7, 0, 0), (8, 2, 1, 0), (10, 0, 0)])
def test_server_from_the_oldest_supported_on_is_taken(version: tuple[int, ...]) -> None:
    check_version(version)
