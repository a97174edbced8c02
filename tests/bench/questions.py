"""``python -m tests.bench.questions``: how long each question takes at the mission's scale, beside a bare floor.

first    what was asked is not remembered: another channel each time, and a service that has just begun
again    the same channel within the minute, while segments go on arriving: what a dashboard does
floor    redis-py and pymongo alone, asked for the same data and doing nothing with it
cpu      of that, what was computed: by this process (the service and the driver), by valkey, by mongod. It says what
         bounds a question, also on a machine that does other work. Of servers on Linux alone
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from pymongo import AsyncMongoClient
from rich.console import Console
from rich.table import Table

from streamproc import DubbingMetricsService
from streamproc.app.garbage import collect_seldom
from streamproc.core.windows import Windowing
from streamproc.embedded import start_mongod, start_valkey
from streamproc.stores.mongo.collection import COLLECTION, ensure_collection
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.keys import ShardKeys

from .stock import HOUR_MS, Scale, Stock

_KEYS: Final = ShardKeys("dubbing", 0)
#: New segments of a channel in the five seconds between two looks of a dashboard: 20 sessions, one each 15 s.
_ARRIVING: Final = 7
_DATABASE: Final = "bench"
_DAY_MS: Final = 24 * HOUR_MS
#: So many are stored: the last ones of all, those before them of the users who are asked about.
_USER_DAYS: Final = 30


class Times(NamedTuple):
    """Milliseconds: how long each ask took, and what this process, valkey and mongod computed for one, in the mean."""

    wall: list[float]
    cpu: list[float]


Ask = Callable[[int], Awaitable[Any]]


class _Settings(NamedTuple):
    prefix: str = "dubbing"
    shards: int = 1
    group: str = "streamproc"
    windowing: Windowing = Windowing()


class Row(NamedTuple):
    question: str
    first: Times
    again: Times
    floor: Times | None
    floor_is: str


class Bench:
    """The stock, and whoever asks about it."""

    def __init__(
        self, scale: Scale, redis: Any, mongodb: AsyncMongoClient[dict[str, Any]], pids: Sequence[int], rounds: int
    ) -> None:
        self.scale = scale
        self.stock = Stock(scale)
        self.rounds = rounds
        self._pids = pids
        self._redis = redis
        self._database = mongodb[_DATABASE]
        self._added = 0

    async def load(self) -> None:
        await ensure_collection(self._database)
        # The mongod of the tests makes do with little memory; a month of the mission's hours needs more.
        await self._database.client.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig="cache_size=4G")
        stored_until_ms = _this_hour_ms()
        for back in range(max(_USER_DAYS, self.scale.days), 0, -1):
            begun_s, start_ms = time.monotonic(), stored_until_ms - back * _DAY_MS
            users = None if back <= self.scale.days else self.rounds + 1
            stored = await self.stock.store(self._database, range(start_ms, start_ms + _DAY_MS, HOUR_MS), users)
            _tell(f"{back} days ago: {stored} measurements in {time.monotonic() - begun_s:.0f} s")
        await self.stock.store(self._database, range(stored_until_ms, _this_hour_ms(), HOUR_MS))
        _tell(f"{await self.stock.keep(self._redis, _now_ms())} segments in detail")

    async def rows(self) -> list[Row]:
        scale = self.scale
        today_ms = _this_hour_ms()
        return [
            await self._row(
                "segments of 5 min",
                lambda asked: lambda number: asked.get_recent_segments(scale.channel(number)),
                self._details,
                "HGETALL of the channel's windows of an hour",
            ),
            await self._row(
                "24 hours of a channel",
                lambda asked: lambda number: asked.get_hourly_metrics(scale.channel(number)),
                lambda number: self._documents("channel_id", scale.channel(number), 1),
                "find().to_list(): 23 x 20 documents",
            ),
            await self._row(
                "7 days of a channel",
                lambda asked: lambda number: asked.get_daily_trends(scale.channel(number)),
                lambda number: self._documents("channel_id", scale.channel(number), 7),
                "find().to_list(): 167 x 20 documents",
            ),
            await self._row(
                "30 days of a user",
                lambda asked: lambda number: asked.get_user_activity(scale.user(number)),
                lambda number: self._documents("user_id", scale.user(number), _USER_DAYS),
                f"find().to_list(): {_USER_DAYS * 24} documents",
            ),
            await self._row(
                "hours of a session",
                lambda asked: lambda number: asked.get_session_hours(scale.session(number, today_ms)),
                lambda number: self._documents("session_id", scale.session(number, today_ms), 90),
                "find().to_list()",
            ),
            await self._row("channels", lambda asked: lambda _: asked.get_channels(), None, "", firsts=5),
            await self._row("last 20 hours", lambda asked: lambda _: asked.get_last_hours(), None, "", firsts=3),
        ]

    async def _row(
        self,
        question: str,
        ask_of: Callable[[DubbingMetricsService], Ask],
        floor: Ask | None,
        floor_is: str,
        firsts: int | None = None,
    ) -> Row:
        _tell(f"{question} ...")

        async def ask_anew(number: int) -> None:
            await ask_of(self._service())(number)

        first = await self._timed(ask_anew, firsts or self.rounds)
        asked = ask_of(self._service())
        await asked(0)
        again = await self._timed(lambda _: asked(0), self.rounds, between=self._arrive)
        return Row(question, first, again, await self._timed(floor, self.rounds) if floor else None, floor_is)

    async def _timed(self, ask: Ask, rounds: int, *, between: Callable[[], Awaitable[None]] | None = None) -> Times:
        """Of so many asks, beside a first one, which opens connections and loads scripts."""
        await ask(0)
        wall, computed = [], [0.0 for _ in self._pids]
        for number in range(1, rounds + 1):
            if between:
                await between()
            begun_s, before = time.perf_counter(), [_cpu_ms(pid) for pid in self._pids]
            await ask(number)
            wall.append((time.perf_counter() - begun_s) * 1000)
            computed = [
                sum_ms + _cpu_ms(pid) - ms for sum_ms, pid, ms in zip(computed, self._pids, before, strict=True)
            ]
        return Times(wall, [sum_ms / rounds for sum_ms in computed])

    def _service(self) -> DubbingMetricsService:
        return DubbingMetricsService(self._redis, self._database, _Settings())

    async def _arrive(self) -> None:
        """Some seconds pass on the first channel."""
        for key in self.scale.windows(_this_hour_ms())[:: self.scale.channels][:_ARRIVING]:
            self._added += 1
            await self.stock.add(self._redis, key, f"new-{self._added}", _now_ms())

    async def _details(self, number: int) -> None:
        hour = datetime.fromtimestamp(_this_hour_ms() / 1000, UTC).strftime("%Y%m%d%H")
        names = await self._redis.execute_command("SMEMBERS", _KEYS.channel(hour, self.scale.channel(number)))
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.execute_command("HGETALL", _KEYS.segments(name.decode()))
        await pipeline.execute()

    async def _documents(self, name: str, value: str, days: int) -> None:
        since = datetime.now(UTC) - timedelta(days=days)
        query = {f"metadata.{name}": value, "timestamp": {"$gte": since}}
        await self._database[COLLECTION].find(query, batch_size=5000).to_list()


def _cpu_ms(pid: int) -> float:
    """What a process has computed so far."""
    if pid == os.getpid():
        return time.process_time() * 1000
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return math.nan
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) * 1000 / os.sysconf("SC_CLK_TCK")


def table(rows: list[Row]) -> Table:
    """Milliseconds: p50 and p99, and what was computed where."""
    names = ("p50", "p99", "cpu", "valkey", "mongod")
    shown = Table("question", *(f"{times} {name}" for times in ("first", "again") for name in names), box=None)
    shown.add_column("floor p50")
    for column in shown.columns[1:]:
        column.justify = "right"
    shown.add_column("floor is")
    for row in rows:
        cells = [f"{one:.1f}" for times in (row.first, row.again) for one in (*_percentiles(times.wall), *times.cpu)]
        floor = f"{_percentiles(row.floor.wall)[0]:.1f}" if row.floor else ""
        shown.add_row(row.question, *cells, floor, row.floor_is)
    return shown


def _percentiles(times: list[float]) -> tuple[float, float]:
    ranked = sorted(times)
    return ranked[int(0.5 * (len(ranked) - 1))], ranked[int(0.99 * (len(ranked) - 1))]


async def run(scale: Scale, rounds: int) -> None:
    collect_seldom()  # as a web process does
    with start_mongod() as mongod, start_valkey() as valkey:
        async with AsyncMongoClient[dict[str, Any]](mongod.url) as mongodb:
            redis: Any = connect(valkey.url)
            bench = Bench(scale, redis, mongodb, [os.getpid(), valkey.pid, mongod.pid], rounds)
            await bench.load()
            rows = await bench.rows()
            await redis.aclose()
    console = Console(highlight=False, width=200)
    console.print(table(rows))
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    console.print(
        f"\nms; {scale.days} days of {scale.sessions} sessions on {scale.channels} channels, {rounds} rounds; "
        f"{os.cpu_count()} processors, load {load} (what is above 1 is not ours)"
    )


def _this_hour_ms() -> int:
    return _now_ms() // HOUR_MS * HOUR_MS


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _tell(line: str) -> None:
    """Progress, which is not the result."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.questions", description=__doc__)
    parser.add_argument("--days", type=int, default=30, help="of which all is stored (%(default)d: some 3 minutes)")
    parser.add_argument("--rounds", type=int, default=100, help="how often each question is asked (%(default)d)")
    options = parser.parse_args()
    asyncio.run(run(Scale(days=options.days), options.rounds))
