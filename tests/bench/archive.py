"""What the archive costs and how fast it is, at the mission's scale: 1000 users who watch all day long, by default.

    life    MongoDB is filled with so many days; then they are archived, verified and asked about, one user is erased
            and one hour is repaired. In a folder, or in a bucket.
    year    a year of files is written without MongoDB; then it is asked about.

Prints bytes per user and day, as files come out, and what every step takes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import redis
from pymongo import AsyncMongoClient

from streamproc.app.archiving import make_archive_erasure, make_archiving
from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.core.day_rows import DayFold, DayRow, day_at, day_start_ms
from streamproc.core.erasures import Subject
from streamproc.embedded import start_mongod, start_valkey
from streamproc.roles.archive_inspector import State
from streamproc.stores.archive.days import Archive, file_name, manifest_name
from streamproc.stores.archive.manifest import Manifest, file_of
from streamproc.stores.archive.objects import open_objects
from streamproc.stores.archive.parquet import SCHEMA_VERSION, to_parquet
from streamproc.stores.archive.query import ask
from streamproc.stores.archive.sql import By, Question
from streamproc.stores.mongo.collection import COLLECTION, ensure_collection
from streamproc.stores.redis.entries import EntryStream

from .stock import HOUR_MS, Scale, Stock

_HOURS: Final = 24
_KEY: Final = "a key of the measurement, long enough"
_FIRST: Final = date(2026, 1, 1)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Print what a step takes, and how much of it this process computed (MongoDB's share is not in it)."""
    start_s, used_s = time.perf_counter(), time.process_time()
    yield
    took_s, used_s = time.perf_counter() - start_s, time.process_time() - used_s
    print(f"{what:64} {took_s:8.2f} s {used_s:8.2f} s of a processor", flush=True)  # noqa: T201


async def life(days: int, users: int, url: str) -> None:
    with start_mongod() as mongod, start_valkey() as valkey:
        settings = Settings.load(
            redis_url=valkey.url, mongodb_url=mongod.url, archive_url=url, erasure_key=_KEY, redis_cluster=False
        )
        with redis.Redis.from_url(valkey.url) as client:
            client.flushall()
        connections = Connections(settings)
        await EntryStream(connections.shards[0], connections.redis, "nobody").ensure_group()
        await ensure_collection(connections.database)
        with told(f"filled MongoDB with {days} days of {users} users"):
            await _fill(mongod.url, settings.mongodb_database, days, users)
        await _live(connections, users)
        await connections.close()


async def _fill(mongodb_url: str, database: str, days: int, users: int) -> None:
    today_ms = day_start_ms(day_at(time.time_ns() // 1_000_000))
    starts = [today_ms - (1 + hour) * HOUR_MS for hour in range(days * _HOURS)]
    with ProcessPoolExecutor() as pool:
        halves = [pool.submit(_fill_part, mongodb_url, database, starts[part::2], users) for part in range(2)]
        for half in halves:
            await asyncio.wrap_future(half)


def _fill_part(mongodb_url: str, database: str, starts_ms: Sequence[int], users: int) -> None:
    async def fill() -> None:
        async with AsyncMongoClient[dict[str, Any]](mongodb_url) as client:
            await Stock(Scale(sessions=users)).store(client[database], starts_ms)

    asyncio.run(fill())


async def _live(connections: Connections, users: int) -> None:
    made = make_archiving(connections)
    erasure = make_archive_erasure(connections)
    assert made is not None
    assert erasure is not None
    archive, inspector, archiver = made

    async def run() -> int:
        now_ms, look = await inspector.now_ms(), await inspector.look()
        done = [await archiver.run_day(day, now_ms, look) for day in await inspector.candidates(now_ms)]
        assert {one.state for one in done} <= {State.DONE, State.WAITING}, done
        return sum(one.written for one in done)

    async def verify() -> int:
        now_ms, look = await inspector.now_ms(), await inspector.look()
        wrong = {day: await inspector.verify(kept, now_ms, look) for day, kept in archive.manifests().items()}
        assert not any(wrong.values()), wrong
        return len(wrong)

    with told("archived them"):
        written = await run()
    _tell_size(archive, users)
    with told("ran again, with nothing to do"):
        assert await run() == 0
    with told(f"verified {written} days, against MongoDB too"):
        assert await verify() == written
    _ask(archive, "user-0007", "channel-07")
    covered_ms = day_start_ms(max(archive.manifests()))
    subject = Subject("user-0007", "hash", covered_ms, covered_ms)
    await connections.database[COLLECTION].delete_many({"metadata.user_id": "user-0007"})
    with told("erased one user from all of them"):
        (tally,) = await erasure.erase([subject])
    assert tally["archive_files"] == written, tally
    with told("erased the same once more: nothing is found"):
        assert not any((await erasure.erase([subject]))[0].values())
    first = datetime.fromtimestamp(day_start_ms(min(archive.manifests())) / 1000, UTC)
    repaired = await connections.database[COLLECTION].find_one({"timestamp": first}, {"_id": 0})
    assert repaired is not None
    repaired["metadata"]["write"] += 1
    repaired["error_count"] += 1
    await connections.database[COLLECTION].insert_one(repaired)
    with told("ran again after an erasure and a repair"):
        assert await run() == 1
    with told("verified all"):
        assert await verify() == written


def year(days: int, users: int, url: str) -> None:
    archive = Archive(open_objects(url))
    with told(f"wrote {days} days of {users} users, the same week again and again"):
        week = [_week_day(users, number) for number in range(min(7, days))]
        files = [to_parquet(_FIRST, rows) for rows in week]
        for number in range(days):
            _put(archive, _FIRST + timedelta(days=number), week[number % 7], files[number % 7])
    _tell_size(archive, users)
    _ask(archive, "user-0007", "channel-07")


def _week_day(users: int, number: int) -> list[DayRow]:
    scale, rng = Scale(sessions=users), random.Random(number)
    stock, fold = Stock(scale), DayFold()
    for hour in range(_HOURS):
        for key in scale.windows(day_start_ms(_FIRST) + hour * HOUR_MS):
            fold.add(stock.document(key, rng.randrange(10_000)))
    return fold.rows()


def _put(archive: Archive, day: date, rows: list[DayRow], data: bytes) -> None:
    """What an archiver leaves behind, without the way there."""
    archive.objects.put(file_name(day), data, None)
    manifest = Manifest(day=day, file=file_of(rows, data, SCHEMA_VERSION, 0))
    archive.objects.put(manifest_name(day), manifest.encode(), None)


def _tell_size(archive: Archive, users: int) -> None:
    manifests = [kept.manifest for kept in archive.manifests().values()]
    files = [one.file for one in manifests if one.file]
    size, rows = sum(one.size_bytes for one in files), sum(one.rows for one in files)
    beside = sum(len(one.encode()) for one in manifests)
    print(  # noqa: T201
        f"{len(files)} files of {users} users: {size:,} bytes; {size / rows:.0f} bytes per user and day, "
        f"{beside / rows:.1f} more in manifests"
    )


def _ask(archive: Archive, user: str, channel: str) -> None:
    first, last = min(archive.manifests()), max(archive.manifests())

    def asked(what: str, by: By, **of: str) -> None:
        with told(f"  {what}"):
            assert ask(archive, Question(by, first, last, **of))

    asked("asked the first time (loads DuckDB)", "year")
    asked("totals of all days", "year")
    asked("by day", "day")
    asked("by month", "month")
    asked("by channel", "channel")
    asked("by user", "user")
    asked("one channel by day", "day", channel=channel)
    asked("one user by month", "month", user=user)


@contextmanager
def place(url: str) -> Iterator[str]:
    """The archive's address: that of an empty folder, if none is given."""
    if url:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder:
        yield f"file://{folder}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.archive", description=__doc__)
    parser.add_argument("what", choices=("life", "year"))
    parser.add_argument("--days", type=int, help="default: 90 of a life, 365 of a year")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--url", default="", help="an empty bucket instead of a folder: gs://bucket/prefix")
    options = parser.parse_args()
    with place(options.url) as where:
        if options.what == "life":
            asyncio.run(life(options.days or 89, options.users, where))
        else:
            year(options.days or 365, options.users, where)
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{os.cpu_count()} processors, load {load} (what is above 1 is not ours); {Path(__file__).name}")  # noqa: T201
