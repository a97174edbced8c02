"""The seam between Redis and MongoDB: whatever happens to a window while it is asked about, before every single look
at a store, its hour is there once, with all that had been counted before the question.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from answering import QUESTIONS, Meanwhile, service_of
from erasing import Erasing
from one_shard import WINDOWING, OneShard, one_shard, segment, window

from streamproc.core.windows import Windowing
from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.collection import COLLECTION

NO_HORIZON = Windowing(length_ms=WINDOWING.length_ms, grace_ms=1, quiet_ms=1, horizon_ms=1)
#: A service looks at most so often for one question; one more, and nothing happens meanwhile.
LOOKS = 9

Happening = Callable[[OneShard], Awaitable[None]]
every_question = pytest.mark.parametrize("question", QUESTIONS)
#: Trends are made of the hours.
every_path = pytest.mark.parametrize("question", [name for name in QUESTIONS if name != "trends"])


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


async def taken(shard: OneShard) -> None:
    await shard.windows().take_due(10, 60_000)


async def flushed(shard: OneShard) -> None:
    while await shard.flusher().run_once():
        pass


async def late(shard: OneShard) -> None:
    await shard.count("late")


async def late_and_flushed(shard: OneShard) -> None:
    """The stored measurement is replaced: a higher one is inserted, then the lower is deleted."""
    await late(shard)
    await flushed(shard)


async def forgotten(shard: OneShard) -> None:
    await shard.flusher(windowing=NO_HORIZON).run_once()
    names = dict.fromkeys(shard.redis.zrange(shard.keys.closed, 0, -1), 0)
    if names:
        shard.redis.zadd(shard.keys.closed, names)
    while await shard.janitor(NO_HORIZON).forget():
        pass
    assert not shard.redis.exists(shard.segments_key())


async def nothing(shard: OneShard) -> None:
    pass


async def counted(shard: OneShard) -> None:
    await shard.count("a", "b")


async def stored(shard: OneShard) -> None:
    await shard.store("a", "b")


async def revised(shard: OneShard) -> None:
    """A late event, not flushed yet, of a stored window."""
    await shard.store("a")
    await shard.count("b")


@every_path
@pytest.mark.parametrize("happening", [taken, flushed, late, late_and_flushed, forgotten], ids=lambda one: one.__name__)
@pytest.mark.parametrize("before", [counted, stored, revised], ids=lambda one: one.__name__)
async def test_an_hour_is_there_once_and_whole_whatever_happens_meanwhile(
    shard: OneShard, before: Happening, happening: Happening, question: str
) -> None:
    happened = 0
    for nth in range(1, LOOKS + 2):
        shard.redis.flushall()
        await shard.database[COLLECTION].delete_many({})
        await shard.stream("nobody").ensure_group()
        await before(shard)
        asked = service_of(shard)
        meanwhile = Meanwhile(asked, nth, lambda: happening(shard))
        rows = await QUESTIONS[question](asked)
        happened += meanwhile.acted
        assert [row.segments for row in rows] in ([2], [3]), f"before look {nth}"
        assert rows[0].segments == 2 or happening in (late, late_and_flushed)
        # And asked again, it is never less.
        (again,) = await QUESTIONS[question](asked)
        assert again.segments >= rows[0].segments
    assert 2 <= happened <= LOOKS, "the test must step between looks, and past the last"


@every_path
@pytest.mark.parametrize("before", [counted, stored, revised], ids=lambda one: one.__name__)
async def test_an_erased_person_is_there_whole_or_not_at_all(shard: OneShard, before: Happening, question: str) -> None:
    for nth in range(1, LOOKS + 2):
        shard.redis.flushall()
        await shard.database[COLLECTION].delete_many({})
        await shard.stream("nobody").ensure_group()
        await before(shard)
        erasing = Erasing(shard)
        asked = service_of(shard)
        meanwhile = Meanwhile(asked, nth, erasing.erase)
        rows = await QUESTIONS[question](asked)
        assert [row.segments for row in rows] in ([2], []), f"before look {nth}"
        if meanwhile.acted:
            assert await QUESTIONS[question](service_of(shard)) == []


@every_question
async def test_the_state_of_a_row_follows_its_window(shard: OneShard, question: str) -> None:
    ask, asked = QUESTIONS[question], service_of(shard)
    states = []
    for step in (counted, taken, nothing, flushed, late, flushed, forgotten):
        if step is flushed:
            taken_again = dict.fromkeys(shard.redis.zrange(shard.keys.taken, 0, -1), 0)
            if taken_again:  # as if whoever took them had died
                shard.redis.zadd(shard.keys.taken, taken_again)
        await step(shard)
        (row,) = await ask(asked)
        states.append((row.state, row.segments))  # type: ignore[attr-defined]
    assert states == [
        ("rolling", 2),
        ("rolling", 2),
        ("rolling", 2),
        ("final", 2),
        ("revised", 3),
        ("final", 3),
        ("final", 3),
    ]


@every_question
async def test_what_mongodb_lost_is_read_from_redis(shard: OneShard, question: str) -> None:
    await shard.store("a", "b")
    await shard.database[COLLECTION].delete_many({})
    asked = service_of(shard)
    found = [(row.segments, row.state) for row in await QUESTIONS[question](asked)]  # type: ignore[attr-defined]
    # From a session no index leads to its closed windows.
    assert found == ([] if question == "session" else [(2, "rolling")])


@every_question
async def test_what_redis_lost_is_as_it_is_stored(shard: OneShard, question: str) -> None:
    await shard.store("a", "b")
    shard.redis.flushall()
    (row,) = await QUESTIONS[question](service_of(shard))
    assert (row.segments, row.state) == (2, "final")  # type: ignore[attr-defined]


@every_question
async def test_of_several_measurements_of_a_window_one_counts(shard: OneShard, question: str) -> None:
    """A flusher that was overtaken, or died between insert and delete, leaves lower ones, and twins."""
    await shard.store("a")
    (lower,) = await shard.documents()
    await shard.store("b")
    (higher,) = await shard.documents()
    twin = {**higher, "metadata": {**higher["metadata"], "write": higher["metadata"]["write"] + 1}, "error_count": 2}
    for one in (lower, twin):
        one.pop("_id", None)
    await shard.database[COLLECTION].insert_many([lower, twin])
    (row,) = await QUESTIONS[question](service_of(shard))
    assert (row.segments, row.errors) == (2, 2)


async def test_a_late_segment_changes_what_is_remembered(shard: OneShard) -> None:
    asked = service_of(shard)
    await shard.store("a", session="s-1")
    await shard.store("a", session="s-2")
    for name, expected in (("b", 3), ("c", 4), ("d", 5)):
        await asked.get_hourly_metrics("kan-11")
        await shard.store(name)
        (row,) = (await asked.get_hourly_metrics("kan-11")).hours
        assert (row.segments, row.state, row.sessions) == (expected, "final", 2)
        assert [day.segments for day in (await asked.get_daily_trends("kan-11")).days] == [expected]


async def test_what_is_remembered_is_not_asked_of_mongodb_again(shard: OneShard) -> None:
    await shard.store("a")
    asked = service_of(shard)
    first = await asked.get_daily_trends("kan-11")
    await shard.database[COLLECTION].delete_many({})
    assert (await asked.get_daily_trends("kan-11")).days == first.days
    assert (await asked.get_hourly_metrics("kan-11")).hours != []


async def test_an_erased_person_leaves_what_is_remembered_at_once_while_redis_knows_the_window(
    shard: OneShard,
) -> None:
    await shard.store("a")
    await shard.store("b", session="s-2")
    shard.publish(segment("c", "s-3", user_id="avi"))
    await shard.consume_all()
    asked = service_of(shard)
    (before,) = (await asked.get_hourly_metrics("kan-11")).hours
    await Erasing(shard).erase()
    (after,) = (await asked.get_hourly_metrics("kan-11")).hours
    assert (before.segments, after.segments) == (3, 1)


@every_question
async def test_between_insert_and_finish_a_window_is_as_it_is_stored(shard: OneShard, question: str) -> None:
    await shard.store("a", "b")
    shard.redis.zadd(shard.keys.taken, {WINDOWING.name(window()): shard.now_ms() + 60_000})
    (row,) = await QUESTIONS[question](service_of(shard))
    assert (row.segments, row.state) == (2, "final")  # type: ignore[attr-defined]


@every_question
async def test_more_segments_win_where_redis_lost_some(shard: OneShard, question: str) -> None:
    await shard.store("a", "b")
    shard.redis.hdel(shard.segments_key(), "a")
    shard.redis.zadd(shard.keys.open, {WINDOWING.name(window()): shard.now_ms() + 60_000})
    (row,) = await QUESTIONS[question](service_of(shard))
    assert (row.segments, row.state) == (2, "final")  # type: ignore[attr-defined]


@pytest.mark.parametrize("found", [0, 1], ids=["neither is found", "the lower is found"])
@pytest.mark.parametrize("question", ["hourly", "trends", "user"])
async def test_a_measurement_missed_while_it_was_replaced_and_then_forgotten_in_redis_is_asked_for_again(
    shard: OneShard, question: str, found: int
) -> None:
    """A cursor is no snapshot: it may come too early for the new measurement, and too late for the old one."""
    asked = service_of(shard)
    measurements: Any = asked._seam.measurements
    await shard.store("a")
    lower = await measurements.of_session("s-1", 0, 2**43)
    await shard.store("b")

    async def missed(*_: Any) -> list[Any]:
        await forgotten(shard)
        return list(lower[:found])

    measurements.of_channel = measurements.of_user = missed
    (row,) = await QUESTIONS[question](asked)
    assert row.segments == 2
