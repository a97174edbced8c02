"""The product's session documents go with their person, and the receipt names them by their hashes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from erasing import Erasing, found_again
from one_shard import WINDOWING, OneShard, one_shard

from streamproc.core.erasures import Pass
from streamproc.embedded import EmbeddedServer
from streamproc.roles.eraser import Eraser
from streamproc.stores.mongo.erasures import SessionErasure
from streamproc.stores.mongo.sessions import COLLECTION, SessionStore


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


@pytest.fixture
def erasing(shard: OneShard) -> Erasing:
    return Erasing(shard)


def eraser(erasing: Erasing) -> Eraser:
    store = SessionStore(erasing.shard.database)
    return erasing.with_stores(beside=[SessionErasure(store, erasing.key, WINDOWING)])


def session(name: str, user: str, started_at: datetime, **fields: Any) -> dict[str, Any]:
    return {"session_id": name, "user_id": user, "channel_id": "kan-11", "started_at": started_at, **fields}


async def left(shard: OneShard) -> list[str]:
    return sorted([one["session_id"] async for one in shard.database[COLLECTION].find()])


async def test_sessions_that_had_started_go_and_the_receipt_names_them_by_hash(erasing: Erasing) -> None:
    shard, now = erasing.shard, datetime.fromtimestamp(erasing.clock.now_ms / 1000, UTC)
    minutes = timedelta(minutes=1)
    await shard.database[COLLECTION].insert_many(
        [
            session("long ago", "dana", now - timedelta(days=29), ended_at=now - timedelta(days=29)),
            session("going on", "dana", now - minutes, status="active"),
            session("by a clock that is ahead", "dana", now + 4 * minutes),
            session("begun later", "dana", now + 6 * minutes),
            session("of another", "noam", now - minutes),
        ]
    )
    erasing.eraser = eraser(erasing)
    erasure = await erasing.eraser.request("dana")
    covered = ["by a clock that is ahead", "going on", "long ago"]
    assert (await erasing.eraser.look(erasure, "dana"))["sessions"] == {"sessions": 3}
    erasure = await erasing.finish(erasure)
    assert await left(shard) == ["begun later", "of another"]
    assert erasure.tallies[Pass.SECOND]["sessions"] == {"sessions": []}
    receipt = erasure.receipt()
    assert receipt["sessions_deleted"] == 3
    assert receipt["session_ids"] == sorted(map(erasing.key.hash, covered))
    assert receipt["passes"]["first"]["sessions"] == {"sessions": 3}
    assert await erasing.eraser.look(erasure, "dana") == {}
    assert await erasing.eraser.erase_again() == 0


async def test_a_session_that_a_backup_brings_back_is_erased_again(erasing: Erasing) -> None:
    shard = erasing.shard
    erasing.eraser = eraser(erasing)
    one = session("going on", "dana", datetime.fromtimestamp(erasing.clock.now_ms / 1000, UTC))
    await shard.database[COLLECTION].insert_one(dict(one))
    erasure = await erasing.erase()
    await shard.database[COLLECTION].insert_one(dict(one))
    assert await erasing.eraser.erase_again() == 1
    assert await left(shard) == []
    erasure = await erasing.erasures.load(erasure.id)
    assert found_again(erasure) == 1
    assert erasure.receipt()["session_ids"] == [erasing.key.hash("going on")]
