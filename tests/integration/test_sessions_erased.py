"""Session documents of a person, erased: those that started in the time that an erasure covers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.connect import connect
from streamproc.stores.mongo.sessions import COLLECTION, SessionStore

BOUND = datetime(2026, 1, 20, 15, tzinfo=UTC)
BOUND_MS = int(BOUND.timestamp() * 1000)


@pytest.fixture
async def database(mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[Any]:
    async with connect(mongod.url, app_name="tests") as client:
        yield client[mongo_database_name]


async def add(database: Any, session: str, user: str = "dana", **fields: Any) -> None:
    await database[COLLECTION].insert_one({"session_id": session, "user_id": user, **fields})


async def test_sessions_that_started_until_then_are_deleted_and_named(database: Any) -> None:
    store = SessionStore(database)
    await add(database, "before", started_at=BOUND - timedelta(days=3))
    await add(database, "at", started_at=BOUND)
    await add(database, "after", started_at=BOUND + timedelta(milliseconds=1))
    await add(database, "another's", user="noa", started_at=BOUND - timedelta(days=3))
    assert await store.count_user("dana", BOUND_MS) == 2
    assert sorted(await store.erase_user("dana", BOUND_MS)) == ["at", "before"]
    assert await store.count_user("dana", BOUND_MS) == 0
    assert await store.erase_user("dana", BOUND_MS) == []
    assert sorted([one["session_id"] async for one in database[COLLECTION].find()]) == ["after", "another's"]


@pytest.mark.parametrize("fields", [{}, {"started_at": None}, {"started_at": "yesterday"}])
async def test_a_session_that_does_not_say_when_it_started_is_deleted_as_well(
    database: Any, fields: dict[str, Any]
) -> None:
    await add(database, "s-1", **fields)
    assert await SessionStore(database).erase_user("dana", BOUND_MS) == ["s-1"]


async def test_another_collection_may_be_named(database: Any) -> None:
    await database["LiveDubbingSession"].insert_one({"session_id": "s-1", "user_id": "dana", "started_at": BOUND})
    assert await SessionStore(database, "LiveDubbingSession").erase_user("dana", BOUND_MS) == ["s-1"]
