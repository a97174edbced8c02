"""Erasing a person from archived days: real files, a real MongoDB, and the eraser that goes through all layers."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from archiving import DAY, HOUR_MS, KEY, Stage, bytes_in, days_ago, folder_url, key, measurement, stage

from streamproc.app.archiving import make_archiving
from streamproc.core.day_rows import day_start_ms
from streamproc.core.erasure_key import ErasureKey
from streamproc.core.erasures import Subject
from streamproc.embedded import EmbeddedServer
from streamproc.roles.archive_inspector import State
from streamproc.stores.archive.days import file_name
from streamproc.stores.archive.failures import ArchiveTrouble, Conflict
from streamproc.stores.archive.objects import Objects

USER = "dana@example.org"
NOTHING = {"archive_rows": 0, "archive_files": 0}
BEFORE = days_ago(6)


@pytest.fixture
async def on(
    valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str, tmp_path: Path
) -> AsyncIterator[Stage]:
    async with stage(valkey.url, mongod.url, mongo_database_name, folder_url(tmp_path / "archive")) as made:
        yield made


def subject(covered_start_ms: int = day_start_ms(days_ago(0)), user: str = USER) -> Subject:
    return Subject(user, ErasureKey(KEY).hash(user), covered_start_ms, covered_start_ms)


async def delete(on: Stage, one: Subject) -> None:
    """What the erasure of measurements does, which goes before."""
    await on.made.archiver._measurements.erase_user(one.user_id, one.covered_start_ms)


def traces(folder: Path) -> list[Path]:
    """Files in which the person's id can be found, in Parquet behind its compression."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            text = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_text()
            if USER in text:
                found.append(path)
    return found


async def test_every_row_of_the_person_goes_and_no_other(on: Stage, tmp_path: Path) -> None:
    await on.store(
        measurement(key(USER)),
        measurement(key(USER, channel="kan-12")),
        measurement(key("avi")),
        measurement(key(USER, day=BEFORE)),
        measurement(key("avi", day=days_ago(4))),
    )
    await on.run_all()
    others = on.archive.rows(on.archive.manifest(DAY))[0:1]
    untouched = on.archive.objects.tokens(f"date={days_ago(4)}")
    assert len(traces(tmp_path)) == 2
    assert await on.erasure.look(subject()) == {"archive_rows": 3, "archive_files": 2}
    await delete(on, subject())
    assert await on.erasure.erase([subject()]) == [{"archive_rows": 3, "archive_files": 2}]
    assert await on.erasure.look(subject()) == NOTHING
    assert traces(tmp_path) == []
    assert (on.users(), on.users(BEFORE)) == (["avi"], [])
    assert on.archive.rows(on.archive.manifest(DAY)) == others
    assert on.archive.objects.tokens(f"date={days_ago(4)}") == untouched
    change = on.archive.manifest(DAY).manifest.history[-1]
    assert (change.reason, change.removed, change.rows) == ("erased", 2, 1)
    assert await on.wrong() == {}
    assert await on.erasure.erase([subject()]) == [NOTHING]


async def test_what_is_archived_is_settled_with_mongodb_at_the_next_run(on: Stage) -> None:
    await on.store(measurement(key(USER)), measurement(key("avi")))
    await on.run()
    await delete(on, subject())
    await on.erasure.erase([subject()])
    assert (await on.run()).state is State.DONE
    assert on.history() == ["archived", "erased"]


async def test_later_hours_of_a_day_stay_and_the_covered_go(on: Stage) -> None:
    """A request in the middle of a day. MongoDB still holds the later hours."""
    await on.store(measurement(key(USER, hour=9)), measurement(key(USER, hour=15), segments=8))
    await on.run()
    covered = subject(day_start_ms(DAY) + 12 * HOUR_MS)
    await delete(on, covered)
    assert await on.erasure.erase([covered]) == [{"archive_rows": 1, "archive_files": 1}]
    (row,) = on.archive.rows(on.archive.manifest(DAY))
    assert row.aggregate.segments == 8
    assert await on.erasure.look(covered) == NOTHING
    assert await on.erasure.erase([covered]) == [NOTHING]
    assert await on.wrong() == {}


async def test_a_row_that_mixes_hours_goes_altogether_where_mongodb_holds_the_day_no_more(
    on: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on.store(
        measurement(key(USER, hour=9)),
        measurement(key(USER, hour=15)),
        measurement(key(USER, hour=15, channel="kan-12")),
    )
    await on.run()
    covered = subject(day_start_ms(DAY) + 12 * HOUR_MS)
    erasure = on.erasure

    async def forgotten(*_: Any) -> None:
        return None

    monkeypatch.setattr(erasure, "_later", forgotten)
    assert await erasure.erase([covered]) == [{"archive_rows": 1, "archive_files": 1}]
    (row,) = on.archive.rows(on.archive.manifest(DAY))
    assert row.key.channel_id == "kan-12"


async def test_days_after_what_is_covered_are_left_alone(on: Stage) -> None:
    await on.store(measurement(key(USER)))
    await on.run()
    assert await on.erasure.erase([subject(day_start_ms(BEFORE))]) == [NOTHING]
    assert on.users() == [USER]


async def test_several_people_are_erased_in_one_pass(on: Stage) -> None:
    await on.store(measurement(key(USER)), measurement(key("avi")), measurement(key("noa")))
    await on.run()
    found = await on.erasure.erase([subject(), subject(user="nobody"), subject(user="avi")])
    assert [one["archive_rows"] for one in found] == [1, 0, 1]
    assert on.users() == ["noa"]
    assert on.history() == ["archived", "erased"]


async def test_no_other_file_is_read(on: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [days_ago(number) for number in range(3, 23)]
    await on.store(*(measurement(key("avi", day=day)) for day in days), measurement(key(USER)))
    await on.run_all()
    erasure, read = on.erasure, []
    objects: Objects = erasure._archive.objects
    real = objects.read

    def counting(name: str) -> Any:
        read.append(name)
        return real(name)

    monkeypatch.setattr(objects, "read", counting)
    assert await erasure.erase([subject()]) == [{"archive_rows": 1, "archive_files": 1}]
    assert {name for name in read if name.startswith("date=")} == {file_name(DAY)}
    read.clear()
    await erasure.erase([subject()])
    assert len(read) <= 1, "only manifests that changed are read again"


async def test_copies_that_a_dead_writer_left_behind_go_too(on: Stage, tmp_path: Path) -> None:
    await on.store(measurement(key(USER)))
    await on.run()
    archive = on.archive
    archive.stage(DAY, archive.rows(archive.manifest(DAY)), 0)
    assert len(traces(tmp_path)) == 2
    await on.erasure.erase([subject()])
    assert traces(tmp_path) == []


async def test_a_run_that_wakes_up_after_the_erasure_brings_nobody_back(
    on: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read MongoDB with the person in it, and named its file; then it sleeps while the person is erased."""
    await on.store(measurement(key(USER)), measurement(key("avi")))
    sleeper = make_archiving(on.connections)
    assert sleeper is not None
    loop = asyncio.get_running_loop()
    objects, puts = sleeper.archive.objects, 0
    real = objects.put

    async def erased() -> None:
        await delete(on, subject())
        await on.erasure.erase([subject()])

    lost = []

    def sleeping(name: str, *args: Any, **options: Any) -> Any:
        nonlocal puts
        puts += 1
        if name != file_name(DAY) or puts > 3:
            return real(name, *args, **options)
        asyncio.run_coroutine_threadsafe(erased(), loop).result(20)
        try:
            return real(name, *args, **options)
        except Conflict:
            lost.append(name)
            raise

    monkeypatch.setattr(objects, "put", sleeping)
    done = await on.run(archiving=sleeper)
    assert lost == [file_name(DAY)], "what it had in hand was never put in place: it might have died right after"
    assert done.state is State.DONE
    await on.erasure.erase([subject()])
    assert traces(tmp_path) == []
    assert on.users() == ["avi"]
    assert await on.wrong() == {}


@pytest.mark.parametrize("call", range(6))
async def test_an_erasure_that_dies_anywhere_is_completed_by_the_next(
    on: Stage, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on.store(measurement(key(USER)), measurement(key("avi")))
    await on.run()
    await delete(on, subject())
    erasure, left = on.erasure, call
    objects = erasure._archive.objects
    for name in ("put", "delete"):
        real = getattr(objects, name)

        def dying(*args: Any, real: Any = real, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return real(*args, **options)

        monkeypatch.setattr(objects, name, dying)
    if call < 5:  # it stages, names, puts, settles, removes the staged copy
        with pytest.raises(KeyboardInterrupt):
            await erasure.erase([subject()])
    else:
        await erasure.erase([subject()])
    await on.erasure.erase([subject()])
    assert traces(tmp_path) == []
    assert on.users() == ["avi"]
    await on.run()
    assert await on.wrong() == {}


async def test_a_damaged_day_is_trouble_that_names_the_day_and_no_person(on: Stage, tmp_path: Path) -> None:
    await on.store(measurement(key(USER)))
    await on.run()
    (tmp_path / "archive" / file_name(DAY)).write_bytes(gzip.compress(b"rubbish"))
    with pytest.raises(ArchiveTrouble, match=str(DAY)) as told:
        await on.erasure.erase([subject()])
    assert USER not in str(told.value)
    assert bytes_in(tmp_path)


async def test_a_storage_that_is_away_is_trouble(on: Stage, tmp_path: Path) -> None:
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    with pytest.raises(ArchiveTrouble):
        await on.erasure.erase([subject()])
    with pytest.raises(ArchiveTrouble):
        await on.erasure.look(subject())
