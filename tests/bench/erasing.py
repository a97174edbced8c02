"""``python -m tests.bench.erasing``: what it costs to erase one person, among few others and among many.

Each row changes one thing of the row above it or of the first: how many others there are (each with a window in detail
and some stored hours), how much is kept of the person, how long the stream is. Beside the time of both passes it tells
how many commands Redis carried out for them, those of scripts among them, and the longest of these: as long everyone
else waits.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final, NamedTuple

import orjson
from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console
from rich.table import Table

from streamproc.app.connections import Connections
from streamproc.app.erasing import make_eraser
from streamproc.core import details
from streamproc.core.details import Detail
from streamproc.core.erasures import State
from streamproc.core.windows import Windowing, WindowKey
from streamproc.demo.stage import settings_of
from streamproc.embedded import start_mongod, start_valkey
from streamproc.metrics import Metrics
from streamproc.stores.mongo.collection import COLLECTION, ensure_collection
from streamproc.stores.redis.keys import ShardKeys

from .stock import HOUR_MS, SEGMENTS, Scale, Stock

_KEYS: Final = ShardKeys("dubbing", 0)
_WINDOWING: Final = Windowing()
_STORED_HOURS: Final = 3
_OTHERS_SEGMENTS: Final = 10
_AT_ONCE: Final = 1000
#: Commands that took longer are told of; the others cannot be the longest.
_SLOW_US: Final = 50
_KEY: Final = {"ERASURE_KEY": "a key of more than sixteen characters"}


(_DETAIL,) = details.encode_all(
    [Detail(1_700_000_000_000_000, 45_000, 1_100_000, 55_000, 1_200_000, 2_000_000, 2_000_000, "he", "en")]
)


class Case(NamedTuple):
    """How much there is: others, the person's windows in detail and stored hours, entries in the stream."""

    others: int
    windows: int = 24
    hours: int = 720
    entries: int = 100_000


CASES: Final = (
    Case(1_000),
    Case(100_000),
    Case(1_000, windows=96, hours=720),
    Case(1_000, windows=24, hours=2880),
    Case(1_000, entries=400_000),
)


class Row(NamedTuple):
    case: Case
    first_ms: list[float]
    second_ms: list[float]
    commands: list[int]
    longest_ms: float


class Crowd:
    """Fills both servers, as the roles would leave them."""

    def __init__(self, redis: Any, database: AsyncDatabase[dict[str, Any]], case: Case) -> None:
        self._redis = redis
        self._database = database
        self._case = case
        self._hour_ms = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS
        scale = Scale(days=1, sessions=case.others)
        self._stock = Stock(scale)
        self._scale = scale

    async def gather(self) -> None:
        """The others: a window in detail each, some stored hours; and the stream, of theirs alone."""
        starts = [self._hour_ms - back * HOUR_MS for back in range(1, _STORED_HOURS + 1)]
        for start_ms in starts:
            await self._stock.store(self._database, [start_ms])
        windows = self._scale.windows(self._hour_ms - HOUR_MS)
        for first in range(0, len(windows), _AT_ONCE):
            await self._keep(windows[first : first + _AT_ONCE], _OTHERS_SEGMENTS)
        await self._publish([key.user_id for key in windows[:1000]], self._case.entries)

    async def admit(self, user: str) -> None:
        """The person who is to be erased."""
        case = self._case
        theirs = [WindowKey(self._hour_ms - n * HOUR_MS, "channel-00", f"of-{user}", user) for n in range(case.windows)]
        await self._keep(theirs, SEGMENTS)
        document = await self._database[COLLECTION].find_one({}, {"_id": False})
        assert document is not None
        stored = []
        for back in range(1, case.hours + 1):
            start = datetime.fromtimestamp((self._hour_ms - back * HOUR_MS) / 1000, UTC)
            metadata = {**document["metadata"], "user_id": user, "session_id": f"of-{user}", "hour": start}
            stored.append({**document, "timestamp": start, "metadata": metadata})
        await self._database[COLLECTION].insert_many(stored, ordered=False)
        await self._publish([user], SEGMENTS)

    async def _keep(self, windows: Sequence[WindowKey], segments: int) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for key in windows:
            name = _WINDOWING.name(key)
            keys = _KEYS.window(name)
            pipeline.hset(keys.segments, mapping={f"segment-{n:05d}": _DETAIL for n in range(segments)})
            pipeline.sadd(keys.channel, name)
            pipeline.zadd(keys.user, {name: key.start_ms})
            pipeline.zadd(_KEYS.closed, {name: _WINDOWING.forgettable_at(key.start_ms)})
        await pipeline.execute()

    async def _publish(self, users: Sequence[str], number: int) -> None:
        """Entries that have been read and acknowledged."""
        for first in range(0, number, _AT_ONCE):
            pipeline = self._redis.pipeline(transaction=False)
            for n in range(first, min(number, first + _AT_ONCE)):
                pipeline.xadd(_KEYS.stream, {"data": _event(users[n % len(users)], n)})
            await pipeline.execute()
        await self._redis.execute_command("XGROUP", "SETID", _KEYS.stream, "streamproc", "$")


def _event(user: str, number: int) -> bytes:
    now = datetime.now(UTC)
    ids = {
        "segment_id": f"segment-{number:05d}",
        "channel_id": "channel-00",
        "session_id": f"of-{user}",
        "user_id": user,
    }
    times = {"extraction_ms": 45, "dubbing_ms": 1100, "reinsertion_ms": 55, "received_at": now}
    sizes = {"original_bytes": 2_000_000, "dubbed_bytes": 2_000_000, "platform": "web", "retry_count": 0}
    return orjson.dumps({**ids, **times, **sizes, "source_language": "he", "target_language": "en"})


async def measure(case: Case, runs: int) -> Row:
    """So many persons are erased, one after the other, from the same crowd."""
    with start_mongod() as mongod, start_valkey() as valkey:
        variables = {"REDIS_URL": valkey.url, "MONGODB_URL": mongod.url, "FLUSH_VISIBILITY_SECONDS": "0.001"}
        settings = settings_of({f"STREAMPROC_{name}": value for name, value in {**variables, **_KEY}.items()})
        connections = Connections(settings)
        try:
            return await _measure(case, runs, connections)
        finally:
            await connections.close()


async def _measure(case: Case, runs: int, connections: Connections) -> Row:
    redis: Any = connections.redis
    await connections.mongodb.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig="cache_size=2G")
    await ensure_collection(connections.database)
    await redis.execute_command("XGROUP", "CREATE", _KEYS.stream, "streamproc", "0", "MKSTREAM")
    crowd = Crowd(redis, connections.database, case)
    await crowd.gather()
    eraser = make_eraser(connections, Metrics())
    assert eraser is not None
    row = Row(case, [], [], [], 0.0)
    await redis.config_set("slowlog-log-slower-than", _SLOW_US)
    longest_us = 0
    for number in range(runs + 1):  # the first one loads the scripts, and does not count
        user = f"person-{number}"
        await crowd.admit(user)
        erasure = await eraser.request(user)
        await redis.slowlog_reset()
        before, begun_s = await _commands(redis), time.perf_counter()
        erasure = await eraser.advance(erasure)
        between_s = time.perf_counter()
        await asyncio.sleep(0.002)
        again_s = time.perf_counter()
        erasure = await eraser.advance(erasure)
        ended_s = time.perf_counter()
        assert erasure.state is State.COMPLETE
        found = {name: erasure.total(name) for name in ("windows", "documents", "stream_entries")}
        assert found == {"windows": case.windows, "documents": case.hours, "stream_entries": SEGMENTS}, found
        if number:
            row.first_ms.append((between_s - begun_s) * 1000)
            row.second_ms.append((ended_s - again_s) * 1000)
            row.commands.append(await _commands(redis) - before - 1)
            longest_us = max([longest_us, *(one["duration"] for one in await redis.slowlog_get(128))])
    return row._replace(longest_ms=longest_us / 1000)


async def _commands(redis: Any) -> int:
    stats = await redis.info("commandstats")
    return sum(stat["calls"] for stat in stats.values())


def table(rows: Sequence[Row]) -> Table:
    names = ("others", "windows", "stored hours", "entries", "first pass ms", "second", "commands", "longest ms")
    shown = Table(*names, box=None)
    for column in shown.columns:
        column.justify = "right"
    for row in rows:
        figures = (f"{median(row.first_ms):.0f}", f"{median(row.second_ms):.0f}", f"{median(row.commands):,.0f}")
        shown.add_row(*(f"{one:,}" for one in row.case), *figures, f"{row.longest_ms:.1f}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.erasing", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="persons erased in each row (default: %(default)d)")
    parser.add_argument("--others", type=int, help="measure the first row alone, with so many others")
    options = parser.parse_args()
    rows = []
    for case in CASES if options.others is None else [Case(options.others)]:
        begun_s = time.monotonic()
        rows.append(asyncio.run(measure(case, options.runs)))
        print(f"{case}: {time.monotonic() - begun_s:.0f} s", file=sys.stderr, flush=True)  # noqa: T201
    console = Console(highlight=False, width=120)
    console.print(table(rows))
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    console.print(
        f"\nmedians of {options.runs}; {SEGMENTS} segments a window, as many of the person's entries in the stream; "
        f"{os.cpu_count()} processors, load {load}"
    )


if __name__ == "__main__":
    main()
