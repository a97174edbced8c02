"""What is stored of a window is found, replaced, swept and erased exactly; on a real server, which is the point."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure
from time_series import FIRST_HOUR_MS, HOUR_MS, Document, measurement, stored, window

from streamproc.core.fold import Aggregate
from streamproc.core.revisions import Stored, highest
from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.collection import COLLECTION, ensure_collection
from streamproc.stores.mongo.connect import connect
from streamproc.stores.mongo.measurements import MeasurementStore, key_of

Database = AsyncDatabase[dict[str, Any]]
ALL = (FIRST_HOUR_MS, FIRST_HOUR_MS + 100 * HOUR_MS)


@pytest.fixture
async def database(mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[Database]:
    async with connect(mongod.url, app_name="tests") as client:
        await ensure_collection(client[mongo_database_name])
        yield client[mongo_database_name]


@pytest.fixture
def store(database: Database) -> MeasurementStore:
    return MeasurementStore(database)


async def everything(database: Database) -> list[Document]:
    """What the collection really holds, superseded measurements and all."""
    return await database[COLLECTION].find({}, {"_id": 0}).to_list()


async def revisions(database: Database) -> list[tuple[int, int]]:
    held = [document["metadata"] for document in await everything(database)]
    return sorted((metadata["revision"], metadata["write"]) for metadata in held)


# --- what the server cannot do, which is why this store is as it is ---------------------------------------------------


@pytest.mark.parametrize("multi", [False, True])
async def test_server_refuses_an_upsert_into_a_time_series_collection(database: Database, multi: bool) -> None:
    update = database[COLLECTION].update_many if multi else database[COLLECTION].update_one
    with pytest.raises(OperationFailure, match="on a time-series collection"):
        await update({"metadata.session_id": "s-1"}, {"$set": {"metadata.revision": 2}}, upsert=True)


async def test_server_takes_a_repeated_insert_for_another_measurement(
    database: Database, store: MeasurementStore
) -> None:
    document = measurement(window())
    await database[COLLECTION].insert_many([{"_id": 1} | document, {"_id": 1} | document])
    assert len(await everything(database)) == 2


# --- insert and look up -----------------------------------------------------------------------------------------------


async def test_inserted_measurement_is_read_back_as_it_was_folded(database: Database, store: MeasurementStore) -> None:
    document = measurement(window(), segments=7)
    assert await store.insert([document]) == []
    assert await everything(database) == [document]
    assert Aggregate.from_document((await everything(database))[0]) == Aggregate.from_document(document)


async def test_inserting_leaves_the_callers_document_as_it_was(store: MeasurementStore) -> None:
    document = measurement(window())
    await store.insert([document])
    assert document == measurement(window())


async def test_inserted_measurement_has_an_id_like_any_document(database: Database, store: MeasurementStore) -> None:
    await store.insert([measurement(window())])
    assert "_id" in (await database[COLLECTION].find_one({}) or {})


async def test_inserting_nothing_stores_nothing(database: Database, store: MeasurementStore) -> None:
    assert await store.insert([]) == []
    assert await everything(database) == []


async def test_look_up_tells_revision_write_and_digest(store: MeasurementStore) -> None:
    document = measurement(window(), segments=4, write=17)
    await store.insert([document])
    assert await store.look_up([window()]) == {window(): [Stored(window(), 4, 17, document["segments_digest"])]}


async def test_look_up_answers_for_every_key_that_was_asked_for(store: MeasurementStore) -> None:
    present, absent, other_hour = window(0), window(0, session="s-2"), window(1)
    await store.insert([measurement(present)])
    found = await store.look_up([present, absent, other_hour, present])
    assert {key: len(held) for key, held in found.items()} == {present: 1, absent: 0, other_hour: 0}
    assert await store.look_up([]) == {}


async def test_look_up_keeps_users_and_channels_of_one_session_apart(store: MeasurementStore) -> None:
    keys = [window(), window(user="u-2"), window(channel="news")]
    documents = [measurement(key, segments=size) for size, key in enumerate(keys, 1)]
    await store.insert(documents)
    assert await store.look_up(keys[:2]) == {
        key: [stored(document, key)] for key, document in zip(keys[:2], documents[:2], strict=True)
    }


async def test_documents_of_keys_are_whole_and_found_like_their_revisions(store: MeasurementStore) -> None:
    first, second = (measurement(window(), segments=segments) for segments in (1, 2))
    await store.insert([first, second, measurement(window(user="u-2"))])
    found = await store.documents([window(), window(9)])
    assert sorted(found[window()], key=lambda one: int(one["segments_processed"])) == [first, second]
    assert found[window(9)] == []


async def test_look_up_finds_each_measurement_once_in_whatever_order_keys_are_asked_for(
    store: MeasurementStore,
) -> None:
    keys = [window(0), window(1), window(0, user="u-2"), window(1, user="u-2")]
    documents = [measurement(key) for key in keys]
    await store.insert(documents)
    assert await store.look_up(keys) == {
        key: [stored(document, key)] for key, document in zip(keys, documents, strict=True)
    }


async def test_look_up_spans_hours_and_more_sessions_than_one_query_takes(store: MeasurementStore) -> None:
    keys = [window(hour, session=f"s-{number}") for hour in range(2) for number in range(1001)]
    documents = [measurement(key, segments=1) for key in keys]
    await store.insert(documents)
    assert await store.look_up(keys) == {
        key: [stored(document, key)] for key, document in zip(keys, documents, strict=True)
    }


async def test_look_up_examines_only_the_hour_of_the_sessions_by_index(
    database: Database, store: MeasurementStore
) -> None:
    await store.insert([measurement(window(hour, session=f"s-{n}")) for hour in range(4) for n in range(50)])
    await database.command("profile", 2)
    await store.look_up([window(2, session=f"s-{n}") for n in range(30)])
    await database.command("profile", 0)
    executed = await database["system.profile"].find({"op": {"$in": ["query", "command", "getmore"]}}).to_list()
    reads = [one for one in executed if "planSummary" in one and COLLECTION in one["ns"]]
    assert [one["docsExamined"] for one in reads] == [30]
    assert reads[0]["planSummary"].startswith("IXSCAN { meta.session_id: 1")


async def test_measurement_of_a_stranger_without_our_metadata_is_passed_over(
    database: Database, store: MeasurementStore
) -> None:
    stranger = {"timestamp": datetime.fromtimestamp(FIRST_HOUR_MS / 1000), "metadata": {"session_id": "s-1"}}
    await database[COLLECTION].insert_one(stranger)
    assert await store.look_up([window()]) == {window(): []}
    assert await store.sweep(*ALL) == 0
    assert [document async for document in store.documents_between(*ALL)] == []


# The server keeps a measurement in columns, with the least and greatest of each field: no reason to change a name.
async def test_languages_of_any_name_are_read_back_unchanged(database: Database, store: MeasurementStore) -> None:
    languages = {"he.IL": 3, "$x": 1, "": 1, "a.b.c": 2, "$where": 4, "a": 5, "中文": 6, "0": 7}
    other = {"he": 1, "a": 2}
    assert await store.insert([measurement(window(), languages=languages)]) == []
    assert await store.insert([measurement(window(session="s-2"), languages=other)]) == []
    held = [document["source_languages"] for document in await everything(database)]
    assert sorted(held, key=len) == [other, languages]


# --- replace ----------------------------------------------------------------------------------------------------------


async def test_repeated_insert_still_reads_as_one(store: MeasurementStore) -> None:
    document = measurement(window(), write=5)
    for _ in range(3):
        await store.insert([document])
    assert highest((await store.look_up([window()]))[window()]) == stored(document, window())
    assert [one async for one in store.documents_between(*ALL)] == [document]


async def test_delete_takes_only_the_superseded_measurement(database: Database, store: MeasurementStore) -> None:
    old, new = measurement(window(), segments=3, write=1), measurement(window(), segments=4, write=2)
    await store.insert([old, new])
    assert await store.delete([stored(old, window())]) == 1
    assert await everything(database) == [new]


async def test_delete_tells_measurements_of_one_revision_apart_by_their_write(
    database: Database, store: MeasurementStore
) -> None:
    await store.insert([measurement(window(), segments=3, write=write) for write in (1, 2, 3)])
    assert await store.delete([Stored(window(), 3, 1, ""), Stored(window(), 3, 3, "")]) == 2
    assert await revisions(database) == [(3, 2)]


@pytest.mark.parametrize(
    "neighbour", [window(user="u-2"), window(channel="news"), window(session="s-2"), window(1), window(-1)]
)
async def test_delete_leaves_the_same_revision_of_other_windows(
    database: Database, store: MeasurementStore, neighbour: Any
) -> None:
    kept = measurement(neighbour)
    await store.insert([measurement(window()), kept])
    assert await store.delete([stored(measurement(window()), window())]) == 1
    assert await everything(database) == [kept]


async def test_deleting_again_or_nothing_deletes_nothing(database: Database, store: MeasurementStore) -> None:
    await store.insert([measurement(window())])
    gone = Stored(window(), 99, 1, "")
    assert await store.delete([gone]) == 0
    assert await store.delete([]) == 0
    assert len(await everything(database)) == 1


async def test_delete_takes_more_than_one_batch(database: Database, store: MeasurementStore) -> None:
    keys = [window(session=f"s-{number}") for number in range(1001)]
    documents = [measurement(key, segments=1) for key in keys]
    await store.insert([*documents, measurement(window())])
    assert await store.delete(map(stored, documents, keys)) == 1001
    assert await everything(database) == [measurement(window())]


# --- sweep, erase, read -----------------------------------------------------------------------------------------------


async def test_sweep_leaves_the_highest_of_each_key_in_its_range(database: Database, store: MeasurementStore) -> None:
    crowded = [measurement(window(), segments=size, write=write) for size, write in [(2, 8), (3, 1), (3, 2), (1, 9)]]
    other_day = [measurement(window(30), segments=size) for size in (1, 2)]
    out_of_range = [measurement(window(50), segments=size) for size in (1, 2)]
    single = measurement(window(user="u-2"), segments=1)
    await store.insert([*crowded, *other_day, *out_of_range, single])
    assert await store.sweep(FIRST_HOUR_MS, FIRST_HOUR_MS + 50 * HOUR_MS) == 4
    held = sorted((key_of(one["metadata"]), one["metadata"]["revision"]) for one in await everything(database))
    assert held == sorted([(window(), 3), (window(user="u-2"), 1), (window(30), 2), (window(50), 1), (window(50), 2)])
    assert (3, 2) in await revisions(database)


async def test_sweep_of_a_clean_or_empty_range_deletes_nothing(database: Database, store: MeasurementStore) -> None:
    await store.insert([measurement(window(hour)) for hour in range(3)] * 2)  # the same insert, repeated
    assert await store.sweep(*ALL) == 0
    assert await store.sweep(FIRST_HOUR_MS, FIRST_HOUR_MS) == 0
    assert len(await everything(database)) == 6


async def test_erasing_a_user_takes_all_windows_up_to_the_covered_one(
    database: Database, store: MeasurementStore
) -> None:
    mine = [measurement(window(hour, session=f"s-{hour}", channel=f"c-{hour}")) for hour in range(4)]
    others = measurement(window(0, user="u-2"))
    await store.insert([*mine, others])
    assert await store.erase_user("u-1", window(2).start_ms) == 3
    held = await everything(database)
    assert len(held) == 2
    assert mine[3] in held
    assert others in held
    assert await store.erase_user("u-1", window(2).start_ms) == 0


async def test_documents_come_in_order_of_time_and_highest_only(store: MeasurementStore) -> None:
    keys = [window(hour, user=user) for hour in (0, 1, 23, 24, 60) for user in ("u-1", "u-2")]
    await store.insert([measurement(key, segments=size) for size in (2, 3, 1) for key in reversed(keys)])
    documents = [document async for document in store.documents_between(*ALL)]
    starts = [document["timestamp"] for document in documents]
    assert starts == sorted(starts)
    assert sorted(documents, key=lambda one: key_of(one["metadata"])) == [measurement(key, segments=3) for key in keys]


async def test_documents_between_includes_the_first_hour_and_not_the_last(store: MeasurementStore) -> None:
    await store.insert([measurement(window(hour)) for hour in range(4)])
    documents = [one async for one in store.documents_between(window(1).start_ms, window(3).start_ms)]
    assert documents == [measurement(window(1)), measurement(window(2))]


def test_key_of_a_date_without_zone_is_an_error() -> None:
    metadata = measurement(window())["metadata"]
    assert key_of(metadata) == window()
    with pytest.raises(TypeError):
        key_of(metadata | {"hour": metadata["hour"].replace(tzinfo=None)})
