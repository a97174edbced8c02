"""`streamproc doctor --queries`: every question on what is stored, with what it took; a missing index is found."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from one_shard import OneShard, one_shard, segment
from test_question_commands import NOWHERE, Shell

from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.collection import COLLECTION


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


@pytest.fixture
def shell(shard: OneShard, valkey: EmbeddedServer, mongod: EmbeddedServer) -> Shell:
    return Shell(shard, valkey.url, mongod.url)


async def test_each_question_is_answered_by_an_index_and_a_missing_one_is_found(shard: OneShard, shell: Shell) -> None:
    shard.publish(*(segment(name, f"s-{number}") for number in range(3) for name in ("a", "b")))
    await shard.consume_all()
    while await shard.flusher().run_once() or shard.redis.zcard(shard.keys.open):
        pass
    ran = await shell.run("doctor", "--queries")
    assert ran.code == 0, ran.out + ran.err
    head, _, *lines, verdict = ran.out.splitlines()
    assert (head, verdict) == ("about channel kan-11, and a user and a session of it", "each goes by an index")
    assert "dana" not in ran.out
    found = [(line[2:29].strip(), *line[29:].split(maxsplit=3)) for line in lines]
    assert [(question, rows, read, by) for question, rows, read, _, by in found] == [
        ("recent segments, 5 minutes", "0", "0", "Redis: the channel's own index of windows"),
        ("hourly metrics, 24 hours", "1", "3", "metadata.channel_id_1_timestamp_-1"),
        ("daily trends, 7 days", "1", "3", "metadata.channel_id_1_timestamp_-1"),
        ("user activity, 30 days", "1", "3", "metadata.user_id_1_timestamp_-1"),
        ("session hours, all", "1", "1", "metadata.session_id_1_timestamp_-1"),
    ]
    await shard.database[COLLECTION].drop_index("metadata.user_id_1_timestamp_-1")
    ran = await shell.run("doctor", "--queries", "--json")
    assert ran.code == 1
    assert [one["question"] for one in json.loads(ran.out) if one["scans"]] == ["user activity, 30 days"]
    assert all(one["ms"] > 0 and not one["missing"] for one in json.loads(ran.out))


async def test_where_nothing_is_stored_the_questions_are_asked_all_the_same(shell: Shell) -> None:
    ran = await shell.run("doctor", "--queries")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "each goes by an index")


async def test_a_server_that_is_away_is_told_with_its_remedy(shell: Shell) -> None:
    ran = await shell.run("doctor", "--queries", STREAMPROC_MONGODB_URL=f"mongodb://{NOWHERE}")
    assert ran.code == 1
    assert "the questions were not asked" in ran.err
    assert "nothing listens there" in ran.err
