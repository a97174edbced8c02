"""The archiver on a real MongoDB and a real Redis, into a folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from archiving import DAY, KEY, Stage, bytes_in, days_ago, folder_url, key, measurement, stage

from streamproc.app.archiving import make_archiving
from streamproc.core.day_rows import DayFold, Totals, day_start_ms
from streamproc.core.erasure_key import ErasureKey
from streamproc.core.erasures import ask
from streamproc.core.windows import Windowing
from streamproc.embedded import EmbeddedServer
from streamproc.roles.archive_inspector import State
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.mongo.erasures import ErasureStore
from streamproc.stores.redis.keys import ShardKeys

KEYS = ShardKeys("dubbing", 0)


@pytest.fixture
async def on(
    valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str, tmp_path: Path
) -> AsyncIterator[Stage]:
    async with stage(valkey.url, mongod.url, mongo_database_name, folder_url(tmp_path / "archive")) as made:
        yield made


# What is archived


async def test_a_day_is_archived_as_its_measurements_come_to(on: Stage) -> None:
    documents = [
        measurement(key("dana", hour=0), segments=5),
        measurement(key("dana", hour=23), segments=2),
        measurement(key("dana", hour=23, channel="kan-12"), segments=4),
        measurement(key("avi"), segments=7, platform="ios"),
    ]
    neighbours = [measurement(key("dana", day=days_ago(number), hour=hour)) for number, hour in ((6, 23), (4, 0))]
    await on.store(*documents, *neighbours)
    done = await on.run()
    assert (done.state, done.written, done.rows) == (State.DONE, True, 3)
    fold = DayFold()
    for document in documents:
        fold.add(document)
    archive = on.archive
    assert archive.rows(archive.manifest(DAY)) == fold.rows()
    assert await on.wrong() == {}


async def test_of_several_measurements_of_a_window_the_highest_is_archived(on: Stage) -> None:
    await on.store(
        measurement(key(), segments=3, write=9),
        measurement(key(), segments=4, write=1, seed=1),
        measurement(key(), segments=4, write=2, seed=2),
    )
    assert (await on.run()).written
    rows = on.archive.rows(on.archive.manifest(DAY))
    fold = DayFold()
    fold.add(measurement(key(), segments=4, write=2, seed=2))
    assert rows == fold.rows()
    assert on.archive.manifest(DAY).manifest.source.highest_write == 2  # type: ignore[union-attr]


async def test_a_second_run_finds_nothing_to_do(on: Stage) -> None:
    await on.store(measurement(key()))
    await on.run()
    before = on.archive.objects.tokens("")
    assert not any(day.written for day in await on.run_all())
    assert on.archive.objects.tokens("") == before


async def test_nothing_is_left_beside_file_and_manifest(on: Stage) -> None:
    await on.store(measurement(key()))
    await on.run()
    assert list(on.archive.objects.tokens("")) == [f"date={DAY}/day.parquet", f"manifests/{DAY}.json"]


# Only what is final


async def test_a_day_for_which_late_events_may_come_waits(on: Stage) -> None:
    await on.store(measurement(key(day=days_ago(1))))
    stands = await on.run(days_ago(1))
    assert (stands.state, stands.written) == (State.WAITING, False)
    assert "late events may still come" in stands.detail


async def test_a_day_waits_for_its_last_window_to_be_flushed(on: Stage) -> None:
    await on.store(measurement(key()))
    name = Windowing().name(key(hour=3))
    for zset in (KEYS.open, KEYS.taken):
        on.redis.zadd(zset, {name: 1})
        assert (await on.run()).state is State.WAITING
        on.redis.zrem(zset, name)
    on.redis.zadd(KEYS.open, {Windowing().name(key(day=days_ago(0))): 1})
    assert (await on.run()).written


async def test_a_backlog_holds_all_days_back(on: Stage) -> None:
    """What is not read yet was added in time, and may be of any day since."""
    await on.store(measurement(key()))
    on.redis.delete(KEYS.stream)
    on.redis.xadd(KEYS.stream, {"data": "{}"}, id=f"{day_start_ms(DAY)}-1")
    on.redis.xgroup_create(KEYS.stream, "streamproc", "0")
    assert (await on.run()).state is State.WAITING
    on.redis.xgroup_setid(KEYS.stream, "streamproc", "$")
    assert (await on.run()).written


async def test_without_a_group_nothing_is_final(on: Stage) -> None:
    await on.store(measurement(key()))
    on.redis.flushall()
    assert "stream or group is missing" in (await on.run()).detail


# Written again


async def test_a_late_revision_is_archived_again(on: Stage) -> None:
    await on.store(measurement(key(), segments=3))
    await on.run()
    await on.store(measurement(key(), segments=4, write=2))
    assert (await on.run()).written
    assert on.archive.manifest(DAY).manifest.file.totals.segments == 4  # type: ignore[union-attr]
    assert on.history() == ["archived", "revised"]
    assert await on.wrong() == {}


async def test_a_repair_of_the_same_revision_is_archived_again(on: Stage) -> None:
    await on.store(measurement(key(), seed=1))
    await on.run()
    await on.store(measurement(key(), seed=2, write=2))
    assert (await on.run()).written
    assert await on.wrong() == {}


async def test_less_than_archived_is_not_written_unless_it_was_erased(on: Stage) -> None:
    await on.store(measurement(key("dana")), measurement(key("avi")))
    await on.run()
    await on.database[COLLECTION].delete_many({"metadata.user_id": "dana"})
    shrunk = await on.run()
    assert (shrunk.state, shrunk.written) == (State.SHRUNK, False)
    assert "dana" not in shrunk.detail
    assert on.users() == ["avi", "dana"]

    erasure_key, now_ms = ErasureKey(KEY), day_start_ms(days_ago(0))
    hashed = erasure_key.hash("dana")
    sealed = erasure_key.seal("dana", b"0" * 12)
    await ErasureStore(on.database).add(ask("e-1", hashed, sealed, now_ms, Windowing(), 0))
    assert (await on.run()).written
    assert on.users() == ["avi"]
    assert on.history() == ["archived", "erased"]


# Interrupted, and several at once


class Interrupted(BaseException):
    """The process is gone: no handler runs."""


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("call", range(5))
async def test_a_run_that_dies_anywhere_leaves_no_half_file_and_the_next_one_ends_it(
    on: Stage, call: int, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writes: the staged file, the candidate, the file, the settled manifest; and the removal of the staged one."""
    await on.store(measurement(key(), segments=3))
    await on.run()
    await on.store(measurement(key(), segments=4, write=2))
    objects, left = on.made.archive.objects, call

    def failing(name: str) -> None:
        real = getattr(objects, name)

        def call_or_die(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0 and before:
                raise Interrupted
            answer = real(*args, **options)
            if left < 0:
                raise Interrupted
            return answer

        monkeypatch.setattr(objects, name, call_or_die)

    failing("put")
    failing("delete")
    with pytest.raises(Interrupted):
        await on.run()
    monkeypatch.undo()
    archive = on.archive
    assert archive.rows(archive.manifest(DAY))[0].aggregate.segments in (3, 4)
    left_behind = archive.staged()
    assert (await on.run(archiving=make_archiving(on.connections))).state is State.DONE
    await on.made.archiver.tidy(day_start_ms(days_ago(0)), left_behind)
    assert archive.rows(archive.manifest(DAY))[0].aggregate.segments == 4
    assert await on.wrong() == {}
    assert list(archive.objects.tokens("")) == [f"date={DAY}/day.parquet", f"manifests/{DAY}.json"]


async def test_two_runs_at_once_end_as_one(on: Stage) -> None:
    await on.store(*(measurement(key(f"user-{number}")) for number in range(50)))
    several = [make_archiving(on.connections) for _ in range(4)]
    done = await asyncio.gather(*(on.run(archiving=one) for one in several))
    assert {one.state for one in done} == {State.DONE}
    assert len(on.users()) == 50
    assert on.history() == ["archived"]
    assert await on.wrong() == {}


async def test_what_is_deleted_while_a_day_is_written_is_not_archived(
    on: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure deletes from MongoDB, then looks into the archive, and finds nothing there yet."""
    await on.store(measurement(key("dana")), measurement(key("avi")))
    archive = on.made.archive
    publish = archive.publish

    def erased_meanwhile(*args: Any) -> Any:
        future = asyncio.run_coroutine_threadsafe(
            on.database[COLLECTION].delete_many({"metadata.user_id": "dana"}), loop
        )
        future.result(10)
        monkeypatch.undo()
        return publish(*args)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(archive, "publish", erased_meanwhile)
    hashed = ErasureKey(KEY).hash("dana")
    erasure = ask("e-1", hashed, ErasureKey(KEY).seal("dana", b"0" * 12), day_start_ms(days_ago(0)), Windowing(), 0)
    await ErasureStore(on.database).add(erasure)
    assert (await on.run()).state is State.DONE
    assert on.users() == ["avi"]


# What MongoDB forgets


async def test_a_day_that_mongodb_begins_to_forget_is_never_written_from_what_is_left(on: Stage) -> None:
    await on.store(measurement(key("dana")), measurement(key("avi")))
    await on.run()
    await on.database[COLLECTION].delete_many({"metadata.user_id": "dana"})
    later_ms = day_start_ms(DAY) + 90 * 86_400_000
    look = await on.made.inspector.look()
    stands = await on.made.archiver.run_day(DAY, later_ms, look)
    assert (stands.state, stands.written) == (State.KEPT, False)
    assert on.users() == ["avi", "dana"]


async def test_what_is_left_of_a_day_that_nobody_archived_is_saved_and_marked(on: Stage) -> None:
    await on.store(measurement(key("dana")))
    look = await on.made.inspector.look()
    saved = await on.made.archiver.run_day(DAY, day_start_ms(DAY) + 90 * 86_400_000, look)
    assert saved.written
    source = on.archive.manifest(DAY).manifest.source
    assert source is not None
    assert source.partial
    assert on.users() == ["dana"]


async def test_days_past_seven_years_are_removed(on: Stage, tmp_path: Path) -> None:
    await on.store(measurement(key()))
    await on.run()
    seven_years_ms = 2557 * 86_400_000
    kept = await on.made.archiver.tidy(day_start_ms(DAY) + seven_years_ms + 3_600_000)
    gone = await on.made.archiver.tidy(day_start_ms(DAY) + seven_years_ms + 2 * 86_400_000)
    assert (kept, gone) == ([], [DAY])
    assert [one for one in bytes_in(tmp_path / "archive") if one] == []


async def test_a_day_is_overdue_if_mongodb_holds_it_for_80_days_and_it_is_not_archived(on: Stage) -> None:
    await on.store(measurement(key()), measurement(key(day=days_ago(4))))
    inspector = on.made.inspector
    assert (await inspector.overdue(day_start_ms(DAY) + 80 * 86_400_000)).days == []
    later_ms = day_start_ms(DAY) + 81 * 86_400_000
    assert (await inspector.overdue(later_ms)).days == [DAY]
    await on.run()
    assert (await inspector.overdue(later_ms)).days == []


async def test_mongodb_and_the_fold_count_the_same(on: Stage) -> None:
    documents = [measurement(key(f"user-{number % 7}", hour=number), segments=240, seed=number) for number in range(24)]
    await on.store(*documents)
    fold = DayFold()
    for document in documents:
        fold.add(document)
    stored = await on.made.archiver._totals.between(day_start_ms(DAY), day_start_ms(DAY) + 86_400_000)
    assert stored.totals == Totals.of(fold.rows())
