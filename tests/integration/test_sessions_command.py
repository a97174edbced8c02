"""`streamproc sessions`: old documents migrate, are still read by the old model, and can be given back as they were."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from one_shard import HOUR, OneShard, one_shard, segment
from pods import until
from pymongo.errors import AutoReconnect
from sessions.old_model import INDEXES, LiveDubbingSession, differences, old_session
from test_question_commands import Shell

from streamproc.embedded import EmbeddedServer, start_mongod
from streamproc.roles.session_migration import Progress, SessionMigration
from streamproc.stores.mongo.checkpoints import Checkpoints
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.mongo.sessions import COLLECTION, SessionStore

ENDED = {"status": "completed", "ended_at": HOUR + timedelta(hours=1)}


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        await one.database[COLLECTION].create_indexes(INDEXES)
        yield one


@pytest.fixture
def shell(shard: OneShard, valkey: EmbeddedServer, mongod: EmbeddedServer) -> Shell:
    return Shell(shard, valkey.url, mongod.url)


async def store(shard: OneShard, *sessions: str) -> None:
    """Hours of sessions, as they were stored before anybody thought of their documents."""
    shard.publish(*(segment(name, session) for session in sessions for name in ("a", "b")))
    await shard.consume_all()
    while await shard.flusher().run_once() or shard.redis.zcard(shard.keys.open):
        pass


async def add(shard: OneShard, *sessions: str, **fields: Any) -> list[dict[str, Any]]:
    documents = [old_session(one, HOUR, **fields) for one in sessions]
    await shard.database[COLLECTION].insert_many(documents)
    return documents


async def found(shard: OneShard) -> list[dict[str, Any]]:
    return [one async for one in shard.database[COLLECTION].find().sort("_id")]


def migration(shard: OneShard, batch: int, sessions: Any = None) -> SessionMigration:
    return SessionMigration(
        sessions or SessionStore(shard.database),
        MeasurementReader(shard.database),
        Checkpoints(shard.database),
        batch,
    )


async def migrated(shard: OneShard) -> int:
    """Migrate all documents. Returns how many were updated."""
    return [one.updated async for one in migration(shard, 100).migrate(now_ms())][-1]


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


async def test_the_old_model_reads_what_it_wrote_after_migration_and_all_of_it_can_be_undone(
    shard: OneShard, shell: Shell
) -> None:
    await add(shard, "s-1", "s-2")
    await add(shard, "s-3", **ENDED)
    await add(shard, "without hours")
    before, indexes = await found(shard), await shard.database[COLLECTION].index_information()
    read_before = [LiveDubbingSession.model_validate(one) for one in before]
    await store(shard, "s-1", "s-2", "s-3")

    dry = await shell.run("sessions", "migrate", "--dry-run")
    assert dry.out == "4 documents: 3 would be updated; 0 unchanged; 1 without hours, left alone\n"
    assert await found(shard) == before

    ran = await shell.run("sessions", "migrate")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "4 documents: 3 updated; 0 unchanged; 1 without hours, left alone\n"
    after = await found(shard)
    assert [LiveDubbingSession.model_validate(one) for one in after] == read_before
    assert [{name: one[name] for name in one if name != "hourly_metrics"} for one in after] == before
    assert await differences(shard.database) == []
    assert await shard.database[COLLECTION].index_information() == indexes
    assert len(indexes) == 1 + len(INDEXES) == 10

    again = await shell.run("sessions", "migrate", "--json")
    assert json.loads(again.out) == {
        "dry_run": False,
        "undo": False,
        "documents": 4,
        "updated": 0,
        "unchanged": 3,
        "without_hours": 1,
        "refused": 0,
    }
    assert await found(shard) == after

    undone = await shell.run("sessions", "migrate", "--undo")
    assert undone.out == "4 documents: hourly_metrics taken out of 3\n"
    assert await found(shard) == before


async def test_the_index_that_expires_completed_sessions_still_expires_those_and_no_others(
    valkey: EmbeddedServer,
) -> None:
    """The server itself deletes the one that ended 30 days ago; it looks every second instead of every minute."""
    long_ago = datetime.now(UTC) - timedelta(days=30, minutes=1)
    with start_mongod(extra_args=["--setParameter", "ttlMonitorSleepSecs=1"]) as mongod:
        async with one_shard(valkey.url, mongod.url, "dubbing") as shard:
            await add(shard, "expired", status="completed", ended_at=long_ago)
            await add(shard, "not completed", ended_at=long_ago)
            await add(shard, "not yet", status="completed", ended_at=long_ago + timedelta(minutes=5))
            await store(shard, "expired", "not completed", "not yet")
            assert await migrated(shard) == 3
            await shard.database[COLLECTION].create_indexes(INDEXES)

            async def is_gone() -> bool:
                return not await shard.database[COLLECTION].count_documents({"session_id": "expired"})

            await until(is_gone)
            assert [one["session_id"] for one in await found(shard)] == ["not completed", "not yet"]


async def test_the_old_model_may_save_its_document_as_a_whole(shard: OneShard) -> None:
    """It then drops what it does not know; that is worked out again."""
    (document,) = await add(shard, "s-1")
    await store(shard, "s-1")
    assert await migrated(shard) == 1
    await shard.database[COLLECTION].replace_one({"_id": document["_id"]}, {**document, "status": "completed"})
    assert len(await differences(shard.database)) == 1
    assert await migrated(shard) == 1
    assert await differences(shard.database) == []


async def test_whoever_starts_it_again_goes_on_where_it_stopped(shard: OneShard, shell: Shell) -> None:
    class CutOff(SessionStore):
        left = 3

        async def update(self, updates: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                await super().update(updates)
                raise AutoReconnect("cut off")
            return await super().update(updates)

    names = [f"s-{number:02}" for number in range(10)]
    documents = await add(shard, *names)
    # Ids of another type come before or after all ObjectIds, and must not be passed over.
    await shard.database[COLLECTION].insert_many(
        [{**documents[0], "_id": 7, "session_id": "first"}, {**documents[0], "_id": True, "session_id": "last"}]
    )
    await store(shard, *names, "first", "last")
    with pytest.raises(AutoReconnect):
        async for _ in migration(shard, 3, CutOff(shard.database)).migrate(now_ms()):
            pass
    assert (await migration(shard, 3).resumed()).documents == 6
    assert len(await differences(shard.database)) == 3  # of the third batch the answer was lost

    ran = await shell.run("sessions", "migrate", "--batch", "5")
    assert "goes on after 6 documents" in ran.err
    assert ran.out == "12 documents: 9 updated; 3 unchanged; 0 without hours, left alone\n"
    assert await differences(shard.database) == []
    assert await migration(shard, 3).resumed() == Progress()


async def test_it_can_begin_at_the_beginning(shard: OneShard, shell: Shell) -> None:
    await add(shard, "s-1", "s-2")
    assert (await anext(migration(shard, 1).migrate(now_ms()))).documents == 1
    await store(shard, "s-1", "s-2")
    ran = await shell.run("sessions", "migrate", "--restart")
    assert ran.out.startswith("2 documents: 2 updated")


async def test_stale_reports_what_is_behind_and_what_is_silent_and_changes_nothing(
    shard: OneShard, shell: Shell
) -> None:
    now = datetime.now(UTC)
    await add(shard, "in step", "behind", last_activity_at=now)
    await add(shard, "silent", last_activity_at=now - timedelta(days=2))
    await add(shard, "ended", last_activity_at=now - timedelta(days=2), **ENDED)
    await store(shard, "in step")
    await migrated(shard)
    await store(shard, "behind")
    before = await found(shard)
    ran = await shell.run("sessions", "stale")
    assert ran.code == 1
    assert ran.out.splitlines() == [
        "4 documents: 1 behind, 1 active and silent",
        f"  behind: behind; holds 0 of 2 segments, last segment {HOUR + timedelta(minutes=5):%Y-%m-%d %H:%M:%S} UTC",
        "  silent: silent; holds 0 of 0 segments, no segment stored",
    ]
    as_json = json.loads((await shell.run("sessions", "stale", "--json", "--limit", "1", "--silent-hours", "72")).out)
    assert (as_json["behind"], as_json["silent"], len(as_json["sessions"])) == (1, 0, 1)
    assert as_json["sessions"][0]["stored"] == 2
    assert await found(shard) == before
    await migrated(shard)
    assert (await shell.run("sessions", "stale")).code == 0


async def test_a_collection_that_is_not_there_is_named_with_its_remedy(shard: OneShard, shell: Shell) -> None:
    ran = await shell.run("sessions", "migrate", STREAMPROC_SESSIONS_COLLECTION="LiveDubbingSession")
    assert ran.code == 1
    assert f"there is no collection LiveDubbingSession in the database {shard.database.name}" in ran.err
    assert "STREAMPROC_SESSIONS_COLLECTION" in ran.err
    assert (await shell.run("sessions", "migrate", "--undo", "--dry-run")).code == 2


async def test_a_document_that_mongodb_refuses_is_counted_and_told(shard: OneShard, shell: Shell) -> None:
    await add(shard, "s-1", "s-2")
    strict = {"$or": [{"hourly_metrics": {"$exists": False}}, {"session_id": "s-1"}]}
    await shard.database.command("collMod", COLLECTION, validator=strict)
    await store(shard, "s-1", "s-2")
    ran = await shell.run("sessions", "migrate")
    assert ran.code == 1
    assert "1 refused by a validator" in ran.out
    assert len(await differences(shard.database)) == 1
