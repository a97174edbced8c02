"""A document that MongoDB will never take is isolated and named; trouble with the server is never taken for that.

The server of these tests is their own: it fails on command (`failCommand`, which every mongod has).
https://github.com/mongodb/mongo/wiki/The-%22failCommand%22-fail-point
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure, PyMongoError, ServerSelectionTimeoutError
from time_series import Document, measurement, stored, window

from streamproc.embedded import EmbeddedServer, start_mongod
from streamproc.stores.mongo.collection import COLLECTION, ensure_collection
from streamproc.stores.mongo.connect import connect
from streamproc.stores.mongo.measurements import MeasurementStore, key_of

Database = AsyncDatabase[dict[str, Any]]
MEGABYTE = 1 << 20
FAIL_POINT_ENABLED = 192  # an error code that says nothing of a document
GOOD = [measurement(window(session=f"good-{number}")) for number in range(50)]
BAD = window(session="bad")


def nested(depth: int) -> Document:
    return {"inner": nested(depth - 1)} if depth else {}


UNENCODABLE: dict[str, Document] = {
    "integer beyond 64 bits": {"total_original_bytes": 1 << 64},
    "null character in a name": {"source_languages": {"h\0e": 1}},
    "name that is no string": {"source_languages": {1: 1}},
    "no Unicode": {"note": "\ud800"},
    "no BSON type": {"note": object()},
    "17 MB": {"note": "x" * 17 * MEGABYTE},
    "50 MB, more than a message": {"note": "x" * 50 * MEGABYTE},
}
REFUSED_BY_THE_SERVER: dict[str, Document] = {
    "no time": {"timestamp": "noon"},  # the server names the document
    "6 MB": {"note": "x" * 6 * MEGABYTE},  # the server fails the whole command: more than a bucket can hold
    "too deep": {"note": nested(250)},  # so here
}
FAULTS = UNENCODABLE | REFUSED_BY_THE_SERVER


@pytest.fixture(scope="module")
def fallible_mongod() -> Iterator[EmbeddedServer]:
    with start_mongod(extra_args=["--setParameter", "enableTestCommands=1"]) as server:
        yield server


@pytest.fixture
async def database(fallible_mongod: EmbeddedServer) -> AsyncIterator[Database]:
    async with connect(fallible_mongod.url, app_name="tests") as client:
        # Before, not after: a client that was told it speaks to no primary does not speak to it for a while.
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await client.drop_database("refusals")
        await ensure_collection(client["refusals"])
        yield client["refusals"]


async def fail(database: Database, *, times: int = 1, skip: int = 0, **how: Any) -> None:
    """Let the server fail inserts: `skip` succeed, then `times` fail."""
    mode = {"skip": skip} if skip else {"times": times}
    data = {"failCommands": ["insert"], **how}
    await database.client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})


async def held(database: Database) -> set[str]:
    documents = await database[COLLECTION].find({}).to_list()
    return {document["metadata"]["session_id"] for document in documents}


@pytest.mark.parametrize("fault", FAULTS)
async def test_refused_document_is_named_and_the_others_are_stored(database: Database, fault: str) -> None:
    documents = [*GOOD[:25], measurement(BAD) | FAULTS[fault], *GOOD[25:]]
    refused = await MeasurementStore(database).insert(documents)
    assert [one.key for one in refused] == [BAD]
    assert 0 < len(refused[0].reason) <= 500
    assert await held(database) == {key_of(document["metadata"]).session_id for document in GOOD}


async def test_all_kinds_of_refused_documents_are_found_in_one_batch(database: Database) -> None:
    bad = {window(session=fault): measurement(window(session=fault)) | FAULTS[fault] for fault in FAULTS}
    refused = await MeasurementStore(database).insert([*bad.values(), *GOOD])
    assert {one.key for one in refused} == set(bad)
    assert len(refused) == len(bad)
    assert await held(database) == {key_of(document["metadata"]).session_id for document in GOOD}


async def test_isolating_a_refused_document_leaves_one_readable_measurement_of_each_other(database: Database) -> None:
    store = MeasurementStore(database)
    await store.insert([*GOOD, measurement(BAD) | FAULTS["6 MB"]])
    start_ms = window().start_ms
    read = [document async for document in store.documents_between(start_ms, start_ms + 1)]
    assert sorted(read, key=str) == sorted(GOOD, key=str)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("HostUnreachable", 6),
        ("Unauthorized", 13),
        ("MaxTimeMSExpired", 50),
        ("WriteConflict", 112),
        ("OutOfDiskSpace", 14031),
        ("NotWritablePrimary", 10107),
        ("InterruptedAtShutdown", 11600),
        ("UnsatisfiableWriteConcern", 100),
        ("BadValue, which may mean the write concern", 2),
        ("a code that nobody knows yet", 987654),
    ],
)
async def test_server_that_fails_a_command_condemns_no_document(database: Database, name: str, code: int) -> None:
    await fail(database, errorCode=code)
    with pytest.raises(PyMongoError):
        await MeasurementStore(database).insert(GOOD)


async def test_server_that_fails_single_documents_for_another_reason_condemns_none(database: Database) -> None:
    fail_point = {"configureFailPoint": "failUnorderedTimeseriesInsert"}
    as_the_server_sorts_it = dict(sorted(GOOD[7]["metadata"].items()))
    one = {"mode": "alwaysOn", "data": {"metadata": as_the_server_sorts_it}}
    await database.client.admin.command(fail_point | one)
    with pytest.raises(BulkWriteError) as failure:
        await MeasurementStore(database).insert([*GOOD, measurement(BAD) | FAULTS["no time"]])
    await database.client.admin.command(fail_point | {"mode": "off"})
    assert {error["code"] for error in (failure.value.details or {})["writeErrors"]} == {2, FAIL_POINT_ENABLED}


@pytest.mark.parametrize("skip", [1, 2, 3])
async def test_connection_lost_while_a_refused_document_is_sought_condemns_nobody(
    database: Database, skip: int
) -> None:
    await fail(database, skip=skip, closeConnection=True)
    with pytest.raises(AutoReconnect):
        await MeasurementStore(database).insert([*GOOD, measurement(BAD) | FAULTS["6 MB"]])


async def test_write_concern_that_was_not_met_is_no_success(database: Database) -> None:
    await fail(database, writeConcernError={"code": 64, "errmsg": "waiting for replication timed out"})
    with pytest.raises(BulkWriteError) as failure:
        await MeasurementStore(database).insert(GOOD)
    assert len((failure.value.details or {})["writeConcernErrors"]) == 1


async def test_write_concern_that_was_not_met_is_no_success_beside_a_refused_document(database: Database) -> None:
    await fail(database, writeConcernError={"code": 64, "errmsg": "waiting for replication timed out"})
    with pytest.raises(BulkWriteError):
        await MeasurementStore(database).insert([*GOOD, measurement(BAD) | FAULTS["no time"]])


async def test_repeating_after_trouble_stores_all_and_reads_as_one(database: Database) -> None:
    store = MeasurementStore(database)
    await fail(database, writeConcernError={"code": 64, "errmsg": "waiting for replication timed out"})
    with pytest.raises(PyMongoError):
        await store.insert(GOOD)
    assert await store.insert(GOOD) == []
    start_ms = window().start_ms
    read = [document async for document in store.documents_between(start_ms, start_ms + 1)]
    assert sorted(read, key=str) == sorted(GOOD, key=str)


async def test_delete_that_failed_is_no_success(database: Database) -> None:
    store = MeasurementStore(database)
    await store.insert(GOOD)
    one = stored(GOOD[1], key_of(GOOD[1]["metadata"]))
    await fail(database, failCommands=["delete"], errorCode=112)
    with pytest.raises(OperationFailure):
        await store.delete([one])
    assert await store.delete([one]) == 1


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_mongodb_that_is_away_is_trouble_for_every_operation() -> None:
    asyncio.run(_every_operation_fails())
    # PyMongo 4.20, closed while its monitor is connecting, leaves that socket to the garbage collector: here, then.
    gc.collect()


async def _every_operation_fails() -> None:
    nobody_listens = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"
    async with connect(nobody_listens, app_name="tests") as client:
        store = MeasurementStore(client["away"])
        with pytest.raises(ServerSelectionTimeoutError):
            await store.insert([*GOOD, measurement(BAD) | FAULTS["17 MB"]])
        with pytest.raises(ServerSelectionTimeoutError):
            await store.look_up([window()])
        with pytest.raises(ServerSelectionTimeoutError):
            await store.delete([stored(GOOD[0], key_of(GOOD[0]["metadata"]))])
        with pytest.raises(ServerSelectionTimeoutError):
            await store.sweep(window().start_ms, window(1).start_ms)
        with pytest.raises(ServerSelectionTimeoutError):
            await store.erase_user("u-1", window().start_ms)
        with pytest.raises(ServerSelectionTimeoutError):
            await anext(store.documents_between(window().start_ms, window(1).start_ms))
        with pytest.raises(ServerSelectionTimeoutError):
            await ensure_collection(client["away"])
