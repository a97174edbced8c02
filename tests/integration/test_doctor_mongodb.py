"""The doctor and MongoDB: another collection, another expiry, a missing index, a measurement of the year 2040."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pymongo
import pytest
from doctoring import Report, of_mongodb
from pymongo.asynchronous.database import AsyncDatabase

from streamproc.app.checkup.diagnosis import Verdict
from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.collection import COLLECTION, ensure_collection
from streamproc.stores.mongo.connect import connect

GREEN, YELLOW, RED, UNKNOWN = Verdict
SERIES: dict[str, Any] = {"timeField": "timestamp", "metaField": "metadata", "granularity": "minutes"}


@pytest.fixture
def database(mongod: EmbeddedServer, mongo_database_name: str) -> Iterator[Any]:
    with pymongo.MongoClient[dict[str, Any]](mongod.url) as client:
        yield client[mongo_database_name]


async def found(mongod: EmbeddedServer, database: Any, url: str = "") -> Report:
    return await of_mongodb(url or mongod.url, database.name)


async def make(mongod: EmbeddedServer, database: Any) -> None:
    async with connect(mongod.url, app_name="tests") as client:
        ours: AsyncDatabase[dict[str, Any]] = client[database.name]
        await ensure_collection(ours)


async def test_the_collection_as_made_is_green_and_every_question_uses_an_index(
    mongod: EmbeddedServer, database: Any
) -> None:
    await make(mongod, database)
    seen = await found(mongod, database)
    for check in ("answers", "version", "permissions", "collection", "fields", "granularity", "expiry", "indexes"):
        assert seen.one(check, "MongoDB").verdict == GREEN, check
    assert seen.one("index use").found.startswith("used: look up stored windows; by user; by channel; by session")
    assert "GiB used" in seen.one("disk").found


async def test_a_database_without_the_collection_asks_for_init(mongod: EmbeddedServer, database: Any) -> None:
    seen = await found(mongod, database)
    diagnosis = seen.one("collection")
    assert (diagnosis.verdict, diagnosis.found) == (YELLOW, f"there is no {database.name}.{COLLECTION}")
    assert seen.one("disk").verdict in (GREEN, YELLOW, RED, UNKNOWN)


async def test_a_collection_of_another_kind_is_red(mongod: EmbeddedServer, database: Any) -> None:
    database.create_collection(COLLECTION)
    diagnosis = (await found(mongod, database)).one("collection")
    assert diagnosis.verdict == RED
    assert "STREAMPROC_MONGODB_DATABASE" in diagnosis.remedy


@pytest.mark.parametrize(
    ("series", "expiry", "check"),
    [
        ({"timeField": "at"}, 7_776_000, "fields"),
        ({"granularity": "hours"}, 7_776_000, "granularity"),
        ({}, 60, "expiry"),
        ({}, None, "expiry"),
    ],
)
async def test_another_option_is_red_and_only_that(
    mongod: EmbeddedServer, database: Any, series: dict[str, Any], expiry: int | None, check: str
) -> None:
    options = {} if expiry is None else {"expireAfterSeconds": expiry}
    database.create_collection(COLLECTION, timeseries={**SERIES, **series}, **options)
    seen = await found(mongod, database)
    verdicts = {name: seen.one(name).verdict for name in ("fields", "granularity", "expiry")}
    assert verdicts == {**dict.fromkeys(verdicts, GREEN), check: RED}


async def test_another_expiry_is_cured_by_the_command_in_the_remedy(mongod: EmbeddedServer, database: Any) -> None:
    database.create_collection(COLLECTION, timeseries=SERIES, expireAfterSeconds=60)
    remedy = (await found(mongod, database)).one("expiry").remedy
    assert remedy == f'db.runCommand({{collMod: "{COLLECTION}", expireAfterSeconds: 7776000}})'
    database.command({"collMod": COLLECTION, "expireAfterSeconds": 7_776_000})
    assert (await found(mongod, database)).one("expiry").verdict == GREEN


@pytest.mark.parametrize(
    ("index", "question"),
    [("user_id", "by user"), ("channel_id", "by channel"), ("session_id", "by session")],
)
async def test_a_missing_index_is_red_and_so_is_the_question_that_it_answered(
    mongod: EmbeddedServer, database: Any, index: str, question: str
) -> None:
    await make(mongod, database)
    database[COLLECTION].drop_index([(f"metadata.{index}", 1), ("timestamp", -1)])
    seen = await found(mongod, database)
    assert seen.one("indexes").found == f"no index on {index} with timestamp"
    assert seen.one("indexes").remedy.startswith("Run streamproc init")
    assert (seen.one("index use").verdict, question in seen.one("index use").found) == (RED, True)
    await make(mongod, database)
    assert (await found(mongod, database)).one("index use").verdict == GREEN


@pytest.mark.parametrize("year", [1969, 2040])
async def test_one_measurement_out_of_time_ends_expiry_and_the_remedy_finds_it(
    mongod: EmbeddedServer, database: Any, year: int
) -> None:
    await make(mongod, database)
    hour = datetime(year, 1, 1, tzinfo=UTC)
    database[COLLECTION].insert_one({"timestamp": hour, "metadata": {"hour": hour, "user_id": "dana"}})
    seen = await found(mongod, database)
    assert seen.one("expiry").verdict == RED
    assert "SERVER-97368" not in seen.one("expiry").found
    assert "{'metadata.hour': {$gt: ISODate('2038-01-19')}}" in seen.one("expiry").remedy
    limits = {"$gt": datetime(2038, 1, 19, tzinfo=UTC)} if year > 2000 else {"$lt": datetime(1970, 1, 1, tzinfo=UTC)}
    assert database[COLLECTION].delete_many({"metadata.hour": limits}).deleted_count == 1
    assert (await found(mongod, database)).one("expiry").verdict == GREEN


async def test_a_server_by_itself_and_the_known_bugs_of_its_version_are_yellow(
    mongod: EmbeddedServer, database: Any
) -> None:
    seen = await found(mongod, database)
    assert seen.one("deployment").verdict == YELLOW
    (bug,) = [one for one in seen.all("known bugs", "MongoDB") if "CVE-2025-14847" in one.found]
    assert (bug.verdict, "networkMessageCompressors" in bug.remedy) == (YELLOW, True)


# User and password: the server asks nobody to log in, and judges those who do.


def login(mongod: EmbeddedServer, user: str) -> str:
    return mongod.url.replace("mongodb://", f"mongodb://{user}@") + "?authSource=admin"


@pytest.fixture
def reader(database: Any) -> Iterator[str]:
    name = f"reader-{database.name}"
    admin = database.client.admin
    admin.command("createUser", name, pwd="pw", roles=[{"role": "read", "db": database.name}])
    yield name
    admin.command("dropUser", name)


async def test_a_user_who_may_only_read_is_named_the_role_that_it_lacks(
    mongod: EmbeddedServer, database: Any, reader: str
) -> None:
    diagnosis = (await found(mongod, database, login(mongod, f"{reader}:pw"))).one("permissions", "MongoDB")
    assert (diagnosis.verdict, diagnosis.found) == (RED, "not permitted: insert, remove, createCollection, createIndex")
    assert f'{{role: "readWrite", db: "{database.name}"}}' in diagnosis.remedy


async def test_a_refused_password_is_named_and_never_shown(mongod: EmbeddedServer, database: Any, reader: str) -> None:
    seen = await found(mongod, database, login(mongod, f"{reader}:wr0ng"))
    diagnosis = seen.one("answers", "MongoDB")
    assert diagnosis.verdict == RED
    assert "STREAMPROC_MONGODB_URL" in diagnosis.remedy
    assert "wr0ng" not in repr(seen)
