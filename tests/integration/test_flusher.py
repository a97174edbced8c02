"""The flusher on real servers: one exact measurement per window, whatever fails between two of its steps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from one_shard import Crash, Failing, FailurePlan, OneShard, one_shard, segment, until, window
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError
from redis.exceptions import ConnectionError as RedisConnectionError

from streamproc.core.fold import digest_of
from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.measurements import MeasurementStore


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


async def test_a_due_window_is_stored_once_and_exactly(shard: OneShard) -> None:
    await shard.count("a", "b", "c")
    assert await shard.flusher().run_once() == 1
    assert await shard.differences() == []
    assert (shard.set_names(shard.keys.open), shard.set_names(shard.keys.closed)) == ([], ["s-1"])
    assert shard.metric("windows_flushed_total") == 1
    assert shard.metric("windows_revised_total") == 0
    assert shard.metric("flush_delay_seconds_count") == 1


async def test_a_window_that_is_not_due_is_left_open(shard: OneShard) -> None:
    shard.publish_names("a")
    await shard.consumer().run_once()
    shard.redis.zadd(
        shard.keys.open, dict.fromkeys(shard.redis.zrange(shard.keys.open, 0, -1), shard.now_ms() + 60_000)
    )
    assert await shard.flusher().run_once() == 0
    assert await shard.documents() == []


async def test_nothing_is_flushed_while_an_entry_before_it_is_undelivered(shard: OneShard) -> None:
    shard.publish_names("z", session="s-2")
    await shard.consumer().run_once()
    shard.redis.xgroup_setid(shard.keys.stream, "streamproc", "0")
    assert await shard.flusher().run_once() == 0


async def test_a_repeated_flush_changes_nothing(shard: OneShard) -> None:
    await shard.store("a", "b")
    before = await shard.documents()
    # As if the flusher had died after its last insert and before it could say so in Redis.
    shard.redis.zadd(shard.keys.open, dict.fromkeys(shard.redis.zrange(shard.keys.closed, 0, -1), 1))
    assert await shard.flusher().run_once() == 1
    assert await shard.documents() == before
    assert shard.metric("windows_flushed_total") == 1


async def test_a_late_event_replaces_the_stored_hour(shard: OneShard) -> None:
    await shard.store("a", "b")
    assert await shard.revisions() == [2]
    await shard.store("c")
    assert await shard.revisions() == [3]
    assert await shard.differences() == []
    assert shard.metric("windows_revised_total") == 1


async def test_many_windows_are_stored_in_batches(shard: OneShard) -> None:
    sessions = [f"s-{number}" for number in range(45)]
    shard.publish(*(segment(name, session) for session in sessions for name in ("a", "b")))
    await shard.consume_all()
    await shard.until_due(sessions[-1])
    assert await shard.flusher().run_once() == 45
    assert await shard.differences() == []


@pytest.mark.parametrize("was_stored", [False, True], ids=["new", "late"])
@pytest.mark.parametrize(
    "error", [Crash(), RedisConnectionError("cut off"), AutoReconnect("cut off")], ids=["death", "redis", "mongodb"]
)
async def test_a_flush_that_ends_anywhere_is_finished_by_another(
    shard: OneShard, error: BaseException, was_stored: bool
) -> None:
    ended_at = []
    for point in range(1, 100):
        session = f"s-{point}"
        if was_stored:
            await shard.store("a", session=session)
        await shard.count("b", "c", session=session)
        plan = FailurePlan(point, error)
        windows, measurements = Failing(shard.windows(), plan), Failing(shard.measurements, plan)
        try:
            await shard.flusher(windows=windows, measurements=measurements, visibility_ms=20).run_once()
        except type(error):
            ended_at.append(plan.failed_at)
        else:
            break
        await _flush_what_was_left(shard)
        assert await shard.revisions(session) == [3 if was_stored else 2]
    steps = ["take_due", "look_up", "fetch", "insert", "delete", "finish", "delete"]
    assert ended_at[:12] == [f"{side} {step}" for step in steps[:6] for side in ("before", "after")]
    assert await shard.differences() == []


async def _flush_what_was_left(shard: OneShard) -> None:
    """Wait until the time of the windows that the dead flusher took is up, then flush them."""
    await until(
        lambda: all(due <= shard.now_ms() for _, due in shard.redis.zrange(shard.keys.taken, 0, -1, False, True))
    )
    while await shard.flusher().run_once():
        pass
    assert shard.set_names(shard.keys.open) == shard.set_names(shard.keys.taken) == []


async def test_a_lost_reply_after_the_insert_stores_no_second_measurement(shard: OneShard) -> None:
    class LosesReply(MeasurementStore):
        async def insert(self, documents: Any) -> Any:
            await super().insert(documents)
            raise AutoReconnect("connection closed")

    await shard.count("a", "b")
    with pytest.raises(AutoReconnect):
        await shard.flusher(measurements=LosesReply(shard.database)).run_once()
    assert shard.set_names(shard.keys.open) == ["s-1"]
    assert shard.metric("flush_failures_total") == 1
    assert await shard.flusher().run_once() == 1
    assert len(await shard.documents()) == 1
    assert await shard.differences() == []


async def test_a_window_that_shrank_keeps_what_is_stored_and_is_reported(
    shard: OneShard, caplog: pytest.LogCaptureFixture
) -> None:
    await shard.store("a", "b", "c")
    before = await shard.documents()
    shard.redis.hdel(shard.segments_key(), "a", "b")
    await shard.count("d")
    assert await shard.flusher().run_once() == 1
    assert await shard.documents() == before
    assert shard.metric("windows_shrunk_total") == 1
    assert "1 windows have fewer segments in Redis than are stored" in caplog.text
    assert "dana" not in caplog.text
    assert (shard.set_names(shard.keys.open), shard.set_names(shard.keys.taken)) == ([], [])


async def test_a_window_that_diverged_is_replaced_and_reported(shard: OneShard) -> None:
    await shard.store("a", "b")
    shard.redis.hdel(shard.segments_key(), "a")
    await shard.count("c")
    await shard.flusher().run_once()
    (document,) = await shard.documents()
    assert document["segments_digest"] == digest_of(["b", "c"])
    assert shard.metric("windows_diverged_total") == 1


async def test_a_refused_measurement_holds_up_no_other_and_is_reported(
    shard: OneShard, caplog: pytest.LogCaptureFixture
) -> None:
    class Spoils(MeasurementStore):
        """Makes one document such as the server refuses."""

        async def insert(self, documents: Any) -> Any:
            sessions = {document["metadata"]["session_id"]: document for document in documents}
            sessions["s-2"]["timestamp"] = "yesterday"
            return await super().insert(documents)

    for session in ("s-1", "s-2", "s-3"):
        await shard.count("a", session=session)
    assert await shard.flusher(measurements=Spoils(shard.database), visibility_ms=20).run_once() == 3
    assert [await shard.revisions(session) for session in ("s-1", "s-2", "s-3")] == [[1], [], [1]]
    assert shard.set_names(shard.keys.taken) == ["s-2"]
    assert shard.metric("documents_refused_total") == 1
    assert shard.metric("windows_flushed_total") == 2
    assert "MongoDB refuses the measurement of window" in caplog.text
    assert "session s-2" in caplog.text
    # Once whatever was wrong is mended, it is stored by itself.
    await _flush_what_was_left(shard)
    assert await shard.differences() == []


async def test_a_refused_late_measurement_leaves_the_stored_one(shard: OneShard) -> None:
    class Spoils(MeasurementStore):
        async def insert(self, documents: Any) -> Any:
            return await super().insert([{**document, "timestamp": "yesterday"} for document in documents])

    await shard.store("a")
    await shard.count("b")
    await shard.flusher(measurements=Spoils(shard.database)).run_once()
    assert await shard.revisions() == [1]


async def test_a_window_that_cannot_be_read_holds_up_no_other(
    shard: OneShard, caplog: pytest.LogCaptureFixture
) -> None:
    for session in ("s-1", "s-2", "s-3"):
        await shard.count("a", session=session)
    shard.redis.hset(shard.segments_key("s-2"), "b", "[99]")
    assert await shard.flusher(visibility_ms=20).run_once() == 3
    assert [await shard.revisions(session) for session in ("s-1", "s-2", "s-3")] == [[1], [], [1]]
    assert shard.set_names(shard.keys.taken) == ["s-2"]
    assert "session s-2 cannot be read" in caplog.text
    shard.redis.hdel(shard.segments_key("s-2"), "b")
    await _flush_what_was_left(shard)
    assert await shard.differences() == []


async def test_a_window_that_grew_meanwhile_is_open_again_and_stored_whole(shard: OneShard) -> None:
    class MeanwhileGrows(MeasurementStore):
        async def look_up(self, keys: Any) -> Any:
            shard.publish_names("c")
            await shard.consume_all()
            return await super().look_up(keys)

    await shard.count("a", "b")
    await shard.flusher(measurements=MeanwhileGrows(shard.database)).run_once()
    assert shard.set_names(shard.keys.open) == ["s-1"]
    await shard.until_due()
    await shard.flusher().run_once()
    assert await shard.revisions() == [3]
    assert await shard.differences() == []


async def test_what_was_inserted_for_a_user_erased_meanwhile_is_deleted(shard: OneShard) -> None:
    class MeanwhileErased(MeasurementStore):
        async def insert(self, documents: Any) -> Any:
            refused = await super().insert(documents)
            shard.redis.zadd(shard.keys.erased, {shard.shard.user_hash("dana"): window().start_ms})
            shard.redis.unlink(shard.segments_key())
            return refused

    await shard.count("a")
    await shard.flusher(measurements=MeanwhileErased(shard.database)).run_once()
    assert await shard.documents() == []
    assert (
        shard.set_names(shard.keys.open)
        == shard.set_names(shard.keys.taken)
        == shard.set_names(shard.keys.closed)
        == []
    )


async def test_a_window_whose_hash_is_gone_is_let_go_of(shard: OneShard) -> None:
    await shard.count("a")
    shard.redis.unlink(shard.segments_key())
    assert await shard.flusher().run_once() == 1
    assert await shard.documents() == []
    assert shard.set_names(shard.keys.open) == shard.set_names(shard.keys.taken) == []


async def test_while_mongodb_is_away_windows_go_back_at_once(shard: OneShard) -> None:
    await shard.count("a")
    away = Failing(shard.measurements, FailurePlan(1, ServerSelectionTimeoutError("no server")))
    with pytest.raises(ServerSelectionTimeoutError):
        await shard.flusher(measurements=away).run_once()
    assert (shard.set_names(shard.keys.open), shard.set_names(shard.keys.taken)) == (["s-1"], [])
    assert await shard.flusher().run_once() == 1
    assert await shard.differences() == []


async def test_a_zombie_flusher_leaves_nothing_that_the_sweep_does_not_remove(shard: OneShard) -> None:
    """It slept past its visibility between looking and inserting; another stored a higher revision meanwhile."""

    class Sleeps(MeasurementStore):
        async def insert(self, documents: Any) -> Any:
            await until(lambda: shard.redis.zrange(shard.keys.taken, 0, -1, False, True)[0][1] <= shard.now_ms())
            await shard.count("b")
            await shard.flusher().run_once()
            return await super().insert(documents)

    await shard.count("a")
    await shard.flusher(measurements=Sleeps(shard.database), visibility_ms=1).run_once()
    assert sorted(await shard.revisions()) == [1, 2]
    assert await shard.janitor().sweep() == 1
    assert await shard.differences() == []
