"""``make bench-sessions``: what session documents cost beside a flush, and how the questions go by the indexes.

On stored hours of the product's scale, with a document for each session under its nine indexes: a batch of 500
sessions, as a full flush leaves them, is noted in Redis and brought up to date, with other sessions each time; and once
more, when nothing is new. At the end `streamproc doctor --queries` is run on it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table
from sessions.old_model import INDEXES, old_session

from streamproc.core.sessions import LastError
from streamproc.embedded import start_mongod, start_valkey
from streamproc.metrics import Metrics
from streamproc.roles.session_keeper import SessionKeeper, SessionPolicy
from streamproc.stores.mongo.collection import ensure_collection
from streamproc.stores.mongo.connect import connect as connect_mongodb
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.mongo.sessions import COLLECTION, SessionStore
from streamproc.stores.redis.behind import BehindSessions
from streamproc.stores.redis.connect import connect as connect_redis
from streamproc.stores.redis.shard import Shard

from .stock import HOUR_MS, Scale, Stock

_BATCH: Final = 500
_DAY_HOURS: Final = 24
_DATABASE: Final = "dubbing"


class Taken(NamedTuple):
    """Milliseconds until it was done, and of the processor's time in this process: the servers' is not in it."""

    ms: float
    cpu_ms: float


class Bench:
    """A stock, its session documents, and a keeper of them."""

    def __init__(self, redis: Any, mongodb: Any, scale: Scale) -> None:
        self._database = mongodb[_DATABASE]
        self._scale = scale
        shard = Shard(redis)
        self._behind = BehindSessions(shard)
        parts = self._behind, SessionStore(self._database), MeasurementReader(self._database, silence_s=60)
        self._keeper = SessionKeeper(*parts, Metrics(), SessionPolicy(max_sessions=_BATCH))
        today_ms = int(time.time() * 1000) // (HOUR_MS * _DAY_HOURS) * HOUR_MS * _DAY_HOURS
        self._days_ms = [today_ms - back * HOUR_MS * _DAY_HOURS for back in range(1, scale.days + 1)]

    async def load(self) -> None:
        await ensure_collection(self._database)
        stock, sessions = Stock(self._scale), self._database[COLLECTION]
        await sessions.create_indexes(INDEXES)
        for day_ms in self._days_ms:
            await stock.store(self._database, range(day_ms, day_ms + _DAY_HOURS * HOUR_MS, HOUR_MS))
            started = datetime.fromtimestamp(day_ms / 1000, UTC)
            await sessions.insert_many(
                [
                    old_session(self._scale.session(n, day_ms), started, user_id=self._scale.user(n))
                    for n in range(self._scale.sessions)
                ]
            )
            _tell(f"{self._scale.sessions} sessions of {_DAY_HOURS} hours")

    async def batches(self) -> dict[str, list[Taken]]:
        """What each batch took, by what is done."""
        names = [self._scale.session(n, day_ms) for day_ms in self._days_ms for n in range(self._scale.sessions)]
        took: dict[str, list[Taken]] = {"noted in Redis": [], "brought up to date": [], "looked at, nothing new": []}
        for first in range(0, len(names) - _BATCH + 1, _BATCH):
            noted = {name: LastError(first, "dubbing model timed out") for name in names[first : first + _BATCH]}
            for done in ("brought up to date", "looked at, nothing new"):
                took["noted in Redis"].append(await _timed(lambda noted=noted: self._behind.note(noted)))  # type: ignore[misc]
                took[done].append(await _timed(self._keeper.run_once))
        return took


async def _timed(work: Callable[[], Awaitable[Any]]) -> Taken:
    begun_s, used_s = time.perf_counter(), time.process_time()
    await work()
    return Taken((time.perf_counter() - begun_s) * 1000, (time.process_time() - used_s) * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-sessions", description=__doc__)
    parser.add_argument("--days", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--sessions", type=int, default=1000, help="a day (default: %(default)s)")
    options = parser.parse_args()
    with start_valkey() as valkey, start_mongod() as mongod:
        took = asyncio.run(_run(valkey.url, mongod.url, Scale(days=options.days, sessions=options.sessions)))
        _show(took)
        own = {"REDIS_URL": valkey.url, "MONGODB_URL": mongod.url, "MONGODB_DATABASE": _DATABASE}
        environment = {**os.environ, **{f"STREAMPROC_{name}": value for name, value in own.items()}}
        subprocess.run(
            [sys.executable, "-m", "streamproc", "doctor", "--queries"], env=environment, check=False, timeout=60
        )


async def _run(redis_url: str, mongodb_url: str, scale: Scale) -> dict[str, list[Taken]]:
    redis, mongodb = connect_redis(redis_url), connect_mongodb(mongodb_url, app_name="bench")
    try:
        bench = Bench(redis, mongodb, scale)
        await bench.load()
        return await bench.batches()
    finally:
        await redis.aclose()
        await mongodb.close()


def _show(took: dict[str, list[Taken]]) -> None:
    table = Table(title=f"{_BATCH} sessions of {_DAY_HOURS} hours", box=None)
    for name in ("a batch is", "batches", "median ms", "worst ms", "median CPU ms"):
        table.add_column(name, justify="left" if name == "a batch is" else "right")
    for name, taken in took.items():
        ms, cpu_ms = ([one[part] for one in taken] for part in (0, 1))
        medians = f"{statistics.median(ms):.1f}", f"{max(ms):.1f}", f"{statistics.median(cpu_ms):.1f}"
        table.add_row(name, str(len(taken)), *medians)
    Console().print(table)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
