"""Session documents on real servers: their totals are what their hours come to, whatever happens in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from one_shard import HOUR, Crash, Failing, FailurePlan, OneShard, one_shard, segment, until, window
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, OperationFailure
from pymongo.monitoring import CommandListener
from redis.exceptions import ConnectionError as RedisConnectionError
from sessions.old_model import INDEXES, differences, old_session

from streamproc.app.checkup.mongodb_facts import stages
from streamproc.core.sessions import LastError
from streamproc.embedded import EmbeddedServer
from streamproc.roles.auditor import Auditor
from streamproc.roles.session_keeper import SessionKeeper, SessionPolicy
from streamproc.stores.mongo.collection import COLLECTION as MEASUREMENTS
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.mongo.sessions import COLLECTION, SessionStore
from streamproc.stores.redis.behind import BehindSessions


class Sessions:
    """The session documents beside a shard, and keepers of them."""

    def __init__(self, shard: OneShard) -> None:
        self.shard = shard
        self.collection = shard.database[COLLECTION]
        self.behind = BehindSessions(shard.shard)
        self.store = SessionStore(shard.database)
        self.reader = MeasurementReader(shard.database)

    async def add(self, *session_ids: str, **fields: Any) -> None:
        await self.collection.insert_many([old_session(one, HOUR, **fields) for one in session_ids])

    async def document(self, session_id: str = "s-1") -> dict[str, Any]:
        document: dict[str, Any] | None = await self.collection.find_one({"session_id": session_id})
        assert document is not None
        return document

    async def metrics(self, session_id: str = "s-1") -> dict[str, Any]:
        metrics: dict[str, Any] = (await self.document(session_id))["hourly_metrics"]
        return metrics

    def flusher(self, behind: Any = None, **parts: Any) -> Any:
        return self.shard.flusher(behind=behind or self.behind, **parts)

    def keeper(
        self, *, behind: Any = None, store: Any = None, reader: Any = None, visibility_ms: int = 60_000
    ) -> SessionKeeper:
        policy = SessionPolicy(visibility_ms=visibility_ms)
        parts = behind or self.behind, store or self.store, reader or self.reader
        return SessionKeeper(*parts, self.shard.metrics, policy)

    async def flush(self) -> None:
        while await self.flusher().run_once():
            pass

    async def count_and_keep(self, *names: str, session: str = "s-1") -> None:
        """Publish segments of one window, count and flush them, and bring its session up to date."""
        await self.shard.count(*names, session=session)
        await self.flush()
        await self.keeper().run_once()

    def noted(self) -> list[str]:
        return [one.decode() for one in self.shard.redis.zrange(self.shard.keys.behind, 0, -1)]

    async def assert_in_step(self) -> None:
        assert self.noted() == []
        assert not self.shard.redis.exists(self.shard.keys.last_errors)
        assert await differences(self.shard.database) == []


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


@pytest.fixture
def sessions(shard: OneShard) -> Sessions:
    return Sessions(shard)


async def test_a_flush_brings_totals_into_the_document_and_touches_nothing_else(sessions: Sessions) -> None:
    await sessions.add("s-1")
    before = await sessions.document()
    await sessions.count_and_keep("a", "b")
    after = await sessions.document()
    metrics = after.pop("hourly_metrics")
    assert after == before
    assert metrics["source"] == MEASUREMENTS
    assert (metrics["windows"], metrics["segments_processed"], metrics["last_hour"]) == (1, 2, HOUR)
    assert metrics["last_segment_at"] == HOUR + timedelta(minutes=5)
    assert metrics["avg_total_ms"] == 45.25 + 1100.5 + 55
    assert metrics["last_error"] is None
    assert "settled" not in metrics
    await sessions.assert_in_step()
    assert sessions.shard.metric("sessions_updated_total") == 1


async def test_late_events_further_hours_and_channels_are_in_the_totals(sessions: Sessions, shard: OneShard) -> None:
    await sessions.add("s-1", "s-2")
    await sessions.count_and_keep("a", "b")
    await sessions.count_and_keep("c")
    shard.publish(
        segment("d", received_at=HOUR - timedelta(minutes=30)),
        segment("e", channel_id="kan-12"),
        segment("a", "s-2", target_language="ru"),
    )
    await shard.consume_all()
    await until(
        lambda: all(due <= shard.now_ms() for _, due in shard.redis.zrange(shard.keys.open, 0, -1, False, True))
    )
    await sessions.flush()
    assert await sessions.keeper().run_once() == 2
    assert (await sessions.metrics())["windows"] == 3
    assert (await sessions.metrics())["segments_processed"] == 5
    await sessions.assert_in_step()


async def test_a_repeated_flush_changes_nothing(sessions: Sessions, shard: OneShard) -> None:
    await sessions.add("s-1")
    await sessions.count_and_keep("a")
    before = await sessions.document()
    shard.redis.zadd(shard.keys.open, dict.fromkeys(shard.redis.zrange(shard.keys.closed, 0, -1), 1))
    assert await sessions.flusher().run_once() == 1
    assert sessions.noted() == ["s-1"]
    assert await sessions.keeper().run_once() == 1
    assert await sessions.document() == before
    await sessions.assert_in_step()


async def test_a_document_is_never_made_nor_given_anything_where_there_are_no_hours(sessions: Sessions) -> None:
    await sessions.add("without hours")
    before = await sessions.document("without hours")
    await sessions.count_and_keep("a", session="unknown")
    await sessions.behind.note({"without hours": LastError(1, "timeout")})
    assert await sessions.keeper().run_once() == 1
    assert [one async for one in sessions.collection.find()] == [before]
    assert sessions.noted() == []


async def test_the_last_error_is_that_of_the_newest_segment_that_had_one(sessions: Sessions, shard: OneShard) -> None:
    await sessions.add("s-1")
    shard.publish(
        segment("b", error="TTS timed out", received_at=HOUR + timedelta(minutes=20)),
        segment("a", error="earlier, and heard of later", received_at=HOUR + timedelta(minutes=10)),
        segment("c", received_at=HOUR + timedelta(minutes=30)),
    )
    await sessions.count_and_keep()
    error = {"at": HOUR + timedelta(minutes=20), "text": "TTS timed out"}
    assert (await sessions.metrics())["last_error"] == error
    assert (await sessions.metrics())["error_count"] == 2
    shard.publish(segment("d", error="a late one", received_at=HOUR + timedelta(minutes=15)))
    await sessions.count_and_keep()
    assert (await sessions.metrics())["last_error"] == error
    assert (await sessions.metrics())["error_count"] == 3
    assert (await sessions.document())["last_error"] == "the product's own"
    await sessions.assert_in_step()


async def test_hours_of_another_user_are_not_in_the_totals(sessions: Sessions, shard: OneShard) -> None:
    await sessions.add("s-1")
    shard.publish(segment("a"), segment("b", user_id="noa"))
    await sessions.count_and_keep()
    assert (await sessions.metrics())["segments_processed"] == 1
    await sessions.assert_in_step()


@pytest.mark.parametrize(
    "error", [Crash(), RedisConnectionError("cut off"), AutoReconnect("cut off")], ids=["death", "redis", "mongodb"]
)
async def test_whoever_dies_at_any_step_leaves_nothing_that_is_not_caught_up(
    sessions: Sessions, shard: OneShard, error: BaseException
) -> None:
    """A flusher and then a keeper, ended before and after every call that either makes to a store."""
    ended_at = []
    for point in range(1, 100):
        session = f"s-{point}"
        await sessions.add(session)
        await sessions.count_and_keep("a", session=session)
        shard.publish(segment("b", session, error="timeout"))
        await shard.count("c", session=session)
        plan = FailurePlan(point, error)
        windows, measurements, behind, store, reader = (
            Failing(one, plan)
            for one in (shard.windows(), shard.measurements, sessions.behind, sessions.store, sessions.reader)
        )
        flusher = sessions.flusher(behind, windows=windows, measurements=measurements, visibility_ms=20)
        keeper = sessions.keeper(behind=behind, store=store, reader=reader, visibility_ms=20)
        try:
            await flusher.run_once()
            await keeper.run_once()
        except type(error):
            ended_at.append(plan.failed_at)
        else:
            break
        await _finish(sessions)
        assert (await sessions.metrics(session))["segments_processed"] == 3
        assert (await sessions.metrics(session))["last_error"]["text"] == "timeout"
    calls = ["take_due", "look_up", "fetch", "insert", "delete", "note", "finish", "delete"]
    calls += ["take", "load", "of_sessions", "of_sessions", "update", "let_go"]
    assert ended_at == [f"{side} {call}" for call in calls for side in ("before", "after")]
    await sessions.assert_in_step()


async def _finish(sessions: Sessions) -> None:
    """Another flusher and another keeper, once the time of those that died is up."""
    redis, keys = sessions.shard.redis, sessions.shard.keys
    for key in (keys.taken, keys.behind):
        scores = [score for _, score in redis.zrange(key, 0, -1, withscores=True)]
        await until(lambda scores=scores: all(score <= sessions.shard.now_ms() for score in scores))  # type: ignore[misc]
    await sessions.flush()
    while await sessions.keeper().run_once():
        pass


async def test_an_older_result_never_replaces_a_newer_one(sessions: Sessions, shard: OneShard) -> None:
    class Slow(MeasurementReader):
        """Reads the hours; before it can be written what they come to, more is stored, and another keeper is faster."""

        slept = False

        async def of_sessions(self, *args: Any) -> Any:
            hours = await super().of_sessions(*args)
            if not self.slept and hours:
                self.slept = True
                await shard.count("b", "c")
                await sessions.flush()
                assert await sessions.keeper().run_once() == 1
                assert (await sessions.metrics())["segments_processed"] == 3
            return hours

    await sessions.add("s-1")
    await shard.count("a")
    await sessions.flush()
    slow = Slow(shard.database)
    assert await sessions.keeper(reader=slow).run_once() == 1
    assert slow.slept
    assert (await sessions.metrics())["segments_processed"] == 3
    await sessions.assert_in_step()


async def test_an_older_result_does_not_bring_back_erased_hours(sessions: Sessions, shard: OneShard) -> None:
    class Slow(MeasurementReader):
        async def of_sessions(self, *args: Any) -> Any:
            hours = await super().of_sessions(*args)
            if hours:
                await sessions.store.erase_user("dana", window().start_ms)
            return hours

    await sessions.add("s-1")
    await shard.count("a")
    await sessions.flush()
    assert await sessions.keeper(reader=Slow(shard.database)).run_once() == 1
    assert await sessions.collection.count_documents({}) == 0
    await sessions.assert_in_step()


async def test_hours_erased_while_they_are_flushed_leave_the_totals(sessions: Sessions, shard: OneShard) -> None:
    class MeanwhileErased(MeasurementStore):
        async def insert(self, documents: Any) -> Any:
            refused = await super().insert(documents)
            shard.redis.zadd(shard.keys.erased, {shard.shard.user_hash("dana"): window().start_ms})
            shard.redis.unlink(shard.segments_key())
            assert await sessions.keeper().run_once() == 0
            return refused

        async def delete(self, stored: Any) -> Any:
            await sessions.keeper().run_once()  # sees what is about to be deleted
            return await super().delete(stored)

    await sessions.add("s-1")
    shard.publish(segment("z", received_at=HOUR + timedelta(hours=1)))
    await sessions.count_and_keep("a")
    await shard.count("b")
    await sessions.flusher(measurements=MeanwhileErased(shard.database)).run_once()
    await sessions.keeper().run_once()
    await sessions.assert_in_step()


async def test_a_window_that_diverged_or_shrank_is_in_the_totals_as_it_is_stored(
    sessions: Sessions, shard: OneShard
) -> None:
    await sessions.add("s-1")
    shard.publish(segment("a", dubbed_bytes=1), segment("b", dubbed_bytes=10))
    await sessions.count_and_keep()
    shard.redis.hdel(shard.segments_key(), "a")
    shard.publish(segment("c", dubbed_bytes=100))
    await sessions.count_and_keep()
    assert shard.metric("windows_diverged_total") == 1
    assert (await sessions.metrics())["total_dubbed_bytes"] == 110
    shard.redis.hdel(shard.segments_key(), "b", "c")
    await sessions.count_and_keep("d")
    assert shard.metric("windows_shrunk_total") == 1
    assert (await sessions.metrics())["total_dubbed_bytes"] == 110
    await sessions.assert_in_step()


async def test_a_superseded_measurement_that_was_left_behind_counts_for_nothing(
    sessions: Sessions, shard: OneShard
) -> None:
    class KeepsAll(MeasurementStore):
        async def delete(self, stored: Any) -> int:
            return len(list(stored)) * 0

    await sessions.add("s-1")
    await sessions.count_and_keep("a")
    await shard.count("b")
    await sessions.flusher(measurements=KeepsAll(shard.database)).run_once()
    assert sorted(await shard.revisions()) == [1, 2]
    await sessions.keeper().run_once()
    assert (await sessions.metrics())["segments_processed"] == 2
    await sessions.assert_in_step()


async def test_an_hour_that_an_audit_repairs_is_in_the_totals(sessions: Sessions, shard: OneShard) -> None:
    await sessions.add("s-1")
    await sessions.count_and_keep("a", "b")
    await shard.database[MEASUREMENTS].delete_many({"metadata.session_id": "s-1"})
    await sessions.behind.note({"s-1": None})
    await sessions.keeper().run_once()
    assert (await sessions.metrics())["segments_processed"] == 0
    auditor = Auditor(shard.shard, shard.windows(), shard.measurements, sessions.behind)
    assert (await auditor.run_once(repair=True)).clean
    await sessions.keeper().run_once()
    assert (await sessions.metrics())["segments_processed"] == 2
    await sessions.assert_in_step()


async def test_session_documents_that_cannot_be_reached_delay_no_hour(sessions: Sessions, shard: OneShard) -> None:
    class Denied(SessionStore):
        async def load(self, session_ids: Any) -> Any:
            raise OperationFailure("not authorized", 13)

    await sessions.add("s-1")
    await shard.count("a")
    await sessions.flush()
    assert await shard.differences() == []
    assert (shard.set_names(shard.keys.open), shard.set_names(shard.keys.taken)) == ([], [])
    with pytest.raises(OperationFailure):
        await sessions.keeper(store=Denied(shard.database), visibility_ms=1).run_once()
    assert sessions.noted() == ["s-1"]
    assert shard.metric("session_failures_total") == 1
    assert shard.metric("sessions_behind", shard="0") == 1
    await _finish(sessions)
    assert shard.metric("sessions_behind", shard="0") == 0
    await sessions.assert_in_step()


async def test_a_document_that_mongodb_refuses_holds_up_no_other(
    sessions: Sessions, shard: OneShard, caplog: pytest.LogCaptureFixture
) -> None:
    await sessions.add("s-1", "s-2", "s-3")
    strict = {"$or": [{"hourly_metrics": {"$exists": False}}, {"session_id": {"$ne": "s-2"}}]}
    await shard.database.command("collMod", COLLECTION, validator=strict)
    for session in ("s-1", "s-2", "s-3"):
        await shard.count("a", session=session)
    await sessions.flush()
    assert await sessions.keeper().run_once() == 3
    assert sessions.noted() == []
    assert [one.partition(":")[0] for one in await differences(shard.database)] == ["s-2"]
    assert "MongoDB refuses hourly_metrics in 1 documents of live_dubbing_sessions" in caplog.text
    assert "dana" not in caplog.text
    assert (shard.metric("sessions_updated_total"), shard.metric("session_failures_total")) == (2, 1)


@pytest.mark.parametrize("field", [None, "of another service", {"windows": "many"}, {"version": 3}])
async def test_something_else_in_the_field_is_replaced(sessions: Sessions, field: Any) -> None:
    await sessions.add("s-1")
    await sessions.collection.update_one({}, {"$set": {"hourly_metrics": field}})
    await sessions.count_and_keep("a")
    await sessions.assert_in_step()


async def test_a_batch_costs_two_reads_and_one_write_all_by_an_index(
    sessions: Sessions, shard: OneShard, mongod: EmbeddedServer
) -> None:
    names = [f"s-{number}" for number in range(40)]
    await sessions.collection.create_indexes(INDEXES)
    await sessions.add(*names)
    shard.publish(*(segment("a", name) for name in names))
    await shard.consume_all()
    await until(
        lambda: all(due <= shard.now_ms() for _, due in shard.redis.zrange(shard.keys.open, 0, -1, False, True))
    )
    await sessions.flush()
    listener = Commands()
    async with AsyncMongoClient[dict[str, Any]](mongod.url, tz_aware=True, event_listeners=[listener]) as client:
        database = client[shard.database.name]
        keeper = sessions.keeper(store=SessionStore(database), reader=MeasurementReader(database))
        assert await keeper.run_once() == 40
    assert [next(iter(command)) for command in listener.commands] == ["find", "find", "update"]
    for command in listener.commands:
        if "update" in command:
            command["updates"] = command["updates"][:1]  # explains one at a time
        plan = await shard.database.command("explain", command)
        assert "IXSCAN" in stages(plan) or "IDHACK" in stages(plan), stages(plan)
        assert "COLLSCAN" not in stages(plan)
    await sessions.assert_in_step()


class Commands(CommandListener):
    """Notes what is sent, as it can be explained."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: Any) -> None:
        kept = ("find", "filter", "projection", "update", "updates")
        if event.command_name in kept:
            self.commands.append({name: event.command[name] for name in kept if name in event.command})

    def succeeded(self, event: Any) -> None:
        """Of no interest."""

    def failed(self, event: Any) -> None:
        """Of no interest."""
