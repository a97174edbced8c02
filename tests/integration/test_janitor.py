"""The janitor on real servers: forgets only what is stored, and what was forgotten is never counted again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from one_shard import WINDOWING, OneShard, one_shard, segment, until, window

from streamproc.core.fold import fold
from streamproc.core.windows import Windowing
from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.collection import COLLECTION

#: What is flushed under it may be forgotten at once: its horizon has passed.
NO_HORIZON = Windowing(length_ms=WINDOWING.length_ms, grace_ms=1, quiet_ms=1, horizon_ms=1)


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


async def flush_past_horizon(shard: OneShard, *names: str, session: str = "s-1") -> None:
    await shard.count(*names, session=session)
    await shard.flusher(windowing=NO_HORIZON).run_once()


async def test_a_stored_window_is_forgotten_past_its_horizon(shard: OneShard) -> None:
    await flush_past_horizon(shard, "a", "b")
    assert await shard.janitor(NO_HORIZON).forget() == 1
    assert not shard.redis.exists(shard.segments_key())
    assert shard.redis.keys("*:channel:*") == shard.redis.keys("*:user:*") == []
    assert shard.set_names(shard.keys.closed) == []
    assert (await shard.seen()).mark_ms == WINDOWING.end_of(window().start_ms)
    assert await shard.differences() == []
    assert shard.metric("windows_forgotten_total") == 1


async def test_a_window_within_its_horizon_is_kept(shard: OneShard) -> None:
    await shard.store("a")
    assert await shard.janitor().forget() == 0
    assert shard.redis.hlen(shard.segments_key()) == 1


async def test_nothing_is_forgotten_while_an_older_entry_is_pending(shard: OneShard) -> None:
    await flush_past_horizon(shard, "a")
    shard.redis.xadd(shard.keys.stream, {"data": "{}"}, id="*")
    shard.redis.xgroup_setid(shard.keys.stream, "streamproc", "0")
    shard.redis.zadd(shard.keys.closed, dict.fromkeys(shard.redis.zrange(shard.keys.closed, 0, -1), shard.now_ms()))
    assert await shard.janitor(NO_HORIZON).forget() == 0
    assert shard.redis.hlen(shard.segments_key()) == 1


async def test_what_comes_below_the_mark_is_a_duplicate(shard: OneShard) -> None:
    await flush_past_horizon(shard, "a", "b")
    await shard.janitor(NO_HORIZON).run_once()
    shard.publish_names("a", "b")
    await shard.consumer().run_once()
    assert not shard.redis.exists(shard.segments_key())
    assert shard.set_names(shard.keys.open) == []
    assert (await shard.seen()).ledger.duplicates == 2
    assert await shard.differences() == []


async def test_a_window_whose_measurement_is_missing_is_not_forgotten_but_stored_again(shard: OneShard) -> None:
    await flush_past_horizon(shard, "a", "b")
    await shard.database[COLLECTION].delete_many({"metadata.session_id": "s-1"})
    assert await shard.janitor(NO_HORIZON).forget() == 0
    assert shard.redis.hlen(shard.segments_key()) == 2
    assert (shard.set_names(shard.keys.open), shard.set_names(shard.keys.closed)) == (["s-1"], [])
    assert (await shard.seen()).mark_ms is None
    await shard.until_due()
    await shard.flusher(windowing=NO_HORIZON).run_once()
    assert await shard.differences() == []
    assert await shard.janitor(NO_HORIZON).forget() == 1


async def test_one_run_forgets_everything_that_may_be(shard: OneShard) -> None:
    for number in range(7):
        await flush_past_horizon(shard, "a", session=f"s-{number}")
    await shard.janitor(NO_HORIZON, max_windows=3).run_once()
    assert shard.set_names(shard.keys.closed) == []
    assert shard.metric("windows_forgotten_total") == 7
    assert await shard.differences() == []


async def test_a_user_keeps_the_index_of_windows_that_are_still_there(shard: OneShard) -> None:
    await flush_past_horizon(shard, "a", session="s-1")
    await shard.store("a", session="s-2")
    await shard.janitor(NO_HORIZON).forget()
    (name,) = shard.redis.zrange(shard.keys.window(WINDOWING.name(window())).user, 0, -1)
    assert name.decode() == WINDOWING.name(window("s-2"))


async def test_the_sweep_removes_what_is_superseded_and_twins(shard: OneShard) -> None:
    await shard.store("a", "b", "c")
    (stored,) = await shard.documents()
    (details,) = await shard.windows().fetch([window()])
    older = fold(window(), {name: details[name] for name in ("a", "b")})
    twin = fold(window(), details)
    write = stored["metadata"]["write"]
    await shard.measurements.insert([older.document(write + 7), twin.document(write - 1)])
    assert sorted(await shard.revisions()) == [2, 3, 3]
    assert await shard.janitor().sweep() == 2
    assert await shard.documents() == [stored]
    assert shard.metric("measurements_swept_total") == 2


async def test_one_pod_sweeps_for_all(shard: OneShard) -> None:
    await shard.store("a")
    (stored,) = await shard.documents()
    await shard.janitor().sweep()
    (details,) = await shard.windows().fetch([window()])
    await shard.measurements.insert([fold(window(), details).document(stored["metadata"]["write"] - 1)])
    assert await shard.janitor().sweep() == 0
    assert await shard.janitor(sweep_ms=1).sweep() == 0  # whoever had the turn has it for as long as it said
    assert len(await shard.documents()) == 2


async def test_read_entries_past_their_retention_are_trimmed(shard: OneShard) -> None:
    for _ in range(30):
        shard.publish(*(segment(f"{number}") for number in range(10)))
    await shard.consume_all()
    before = shard.redis.xlen(shard.keys.stream)
    newest = shard.now_ms()
    await until(lambda: shard.now_ms() > newest + 1)
    await shard.janitor(stream_retention_ms=1).trim()
    assert shard.redis.xlen(shard.keys.stream) < before
    assert (await shard.seen()).ledger.imbalance() == 0


async def test_undelivered_entries_are_never_trimmed(shard: OneShard) -> None:
    for _ in range(30):
        shard.publish(*(segment(f"{number}") for number in range(10)))
    newest = shard.now_ms()
    await until(lambda: shard.now_ms() > newest + 1)
    await shard.janitor(stream_retention_ms=1).trim()
    assert shard.redis.xlen(shard.keys.stream) == 300


async def test_consumers_that_have_gone_are_removed_and_those_with_pending_entries_kept(shard: OneShard) -> None:
    shard.publish(segment("a"), segment("b"))
    shard.redis.xreadgroup("streamproc", "holds", {shard.keys.stream: ">"}, count=1)
    await shard.consumer("gone").run_once()
    await shard.janitor(consumer_idle_ms=0).retire()
    names = [info["name"] for info in shard.redis.xinfo_consumers(shard.keys.stream, "streamproc")]
    assert names == [b"holds"]
    assert (await shard.seen()).pending == 1


async def test_a_second_run_changes_nothing(shard: OneShard) -> None:
    await flush_past_horizon(shard, "a")
    await shard.store("a", session="s-2")
    await shard.janitor(NO_HORIZON).run_once()
    before = [shard.redis.hgetall(shard.keys.ledger), await shard.documents("s-1"), await shard.documents("s-2")]
    await shard.janitor(NO_HORIZON).run_once()
    assert [
        shard.redis.hgetall(shard.keys.ledger),
        await shard.documents("s-1"),
        await shard.documents("s-2"),
    ] == before
