"""`streamproc init`: makes what the product stores in, and says what is there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from one_shard import HOUR, OneShard, one_shard
from sessions.old_model import INDEXES, old_session
from test_question_commands import Shell

from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.mongo.sessions import COLLECTION as SESSIONS


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


@pytest.fixture
def shell(shard: OneShard, valkey: EmbeddedServer, mongod: EmbeddedServer) -> Shell:
    return Shell(shard, valkey.url, mongod.url)


async def test_the_collection_is_made_as_it_must_be_and_shown_as_it_is(shard: OneShard, shell: Shell) -> None:
    await shard.database.drop_collection(COLLECTION)
    shard.redis.flushall()
    for _ in range(2):
        ran = await shell.run("init")
        assert ran.code == 0, ran.err
        assert ran.out.splitlines() == [
            f"{shard.database.name}.dubbing_metrics_ts: time-series collection",
            "  timeField timestamp, metaField metadata, granularity minutes",
            "  measurements expire after 90 days",
            "  index metadata.channel_id: 1, timestamp: -1",
            "  index metadata.user_id: 1, timestamp: -1",
            "  index metadata.session_id: 1, timestamp: -1",
            "ready: stream, group, collection and indexes exist",
        ]
    assert shard.redis.xinfo_groups(shard.keys.stream)[0]["name"] == b"streamproc"


async def test_session_documents_are_looked_at_and_never_made(shard: OneShard, shell: Shell) -> None:
    async def said() -> str:
        ran = await shell.run("init", STREAMPROC_SESSIONS_ENABLED="true")
        assert ran.code == 0, ran.err
        return ran.out.splitlines()[-2].removeprefix(f"{shard.database.name}.live_dubbing_sessions: ")

    assert (await said()).startswith("not there yet")
    assert SESSIONS not in await shard.database.list_collection_names()
    await shard.database[SESSIONS].insert_one(old_session("s-1", HOUR))
    assert (await said()).startswith("no index begins with session_id")
    await shard.database[SESSIONS].create_indexes(INDEXES)
    assert await said() == "about 1 session documents, found by session_id"
