"""``make bench``: how fast one worker counts, with everything on, beside what merely draining the stream costs.

Each run fills a stream, drains it twice with nothing but XREADGROUP and XACK (`floor`), then starts one worker
process and waits until everything is acknowledged and stored; what is stored is compared with what was published.
The rate is that between the first and the last acknowledgement, so the time a process needs to start is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pymongo
import redis
from rich.table import Table

from streamproc.app.settings import PREFIX
from streamproc.demo.stage import Worker
from streamproc.embedded import start_mongod, start_valkey
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.keys import ShardKeys

from . import floor, stages
from .command import Measured, main
from .load import Load, preload

_LOOK_S: Final = 0.05
_QUIET_S: Final = 8
_PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one run came to. Rates are events a second; memory is bytes."""

    rate: float
    python_rate: float
    server_rate: float
    worker_memory: int
    redis_memory: int
    segments: int
    windows: int
    flush_s: float
    wrong: int


class Counting:
    """Two servers, and runs on them, each under a prefix and in a database of its own."""

    def __init__(self, redis_url: str, mongodb_url: str, load: Load) -> None:
        self.redis_url = redis_url
        self._mongodb_url = mongodb_url
        self._load = load

    async def run(self, number: int) -> Run:
        name = f"bench-{number}"
        keys = ShardKeys(name, 0)
        client: Any = connect(self.redis_url)
        with redis.Redis.from_url(self.redis_url) as look, pymongo.MongoClient[Any](self._mongodb_url) as mongodb:
            mongodb.drop_database(name)
            await drop(client, name)
            truth = await preload(client, [keys.stream], self._load)
            python_rate = await floor.python(client, keys.stream)
            server_rate = await floor.server(client, self.redis_url, keys.stream)
            before = int(look.info("memory")["used_memory"])
            worker = Worker(1, variables(self.redis_url, self._mongodb_url, name, _QUIET_S))
            try:
                await worker.start()
                rate = await watch(look, keys, self._load.events)
                redis_memory = int(look.info("memory")["used_memory"]) - before
                flush_s = await wait_until_stored(look, keys)
                memory = peak_memory(worker.pid)
            finally:
                await worker.stop()
            wrong = truth.wrong(list(mongodb[name][COLLECTION].find()))
            mongodb.drop_database(name)
        await drop(client, name)
        await client.aclose()
        return Run(
            rate=rate,
            python_rate=python_rate,
            server_rate=server_rate,
            worker_memory=memory,
            redis_memory=redis_memory,
            segments=truth.segments.total(),
            windows=len(truth.segments),
            flush_s=flush_s,
            wrong=len(wrong),
        )


def variables(redis_url: str, mongodb_url: str, name: str, quiet_s: float) -> dict[str, str]:
    """The settings of a worker: keys and database of its own, and windows that are due `quiet_s` after they began."""
    settings = {
        "REDIS_URL": redis_url,
        "MONGODB_URL": mongodb_url,
        "PREFIX": name,
        "MONGODB_DATABASE": name,
        "LATE_QUIET_SECONDS": str(quiet_s),
    }
    return {f"{PREFIX}{setting}": value for setting, value in settings.items()}


async def watch(look: redis.Redis, keys: ShardKeys, events: int) -> float:
    """Events a second between the first and the last acknowledgement."""
    first: tuple[float, int] | None = None
    until_s = time.perf_counter() + _PATIENCE_S
    while (now_s := time.perf_counter()) < until_s:
        ledger = look.hmget(keys.ledger, ["counted", "duplicates"])
        done = sum(int(count or 0) for count in ledger)
        if first is None and done:
            first = now_s, done
        if first is not None and done >= events:
            # So few may be there that one look sees all of them.
            return (done - first[1] or done) / max(now_s - first[0], _LOOK_S)
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError(f"not everything was counted within {_PATIENCE_S:g} s")


async def wait_until_stored(look: redis.Redis, keys: ShardKeys) -> float:
    """How long it took from the first window taken until none was left, in seconds."""
    begun_s, until_s = 0.0, time.perf_counter() + _PATIENCE_S
    while (now_s := time.perf_counter()) < until_s:
        with look.pipeline(transaction=True) as at_once:  # else a window that goes back to open may be in neither
            at_once.zcard(keys.open)
            at_once.zcard(keys.taken)
            open_, taken = at_once.execute()
        if taken and not begun_s:
            begun_s = now_s
        if not open_ + taken:
            return max(now_s - (begun_s or now_s), _LOOK_S)
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError(f"not everything was stored within {_PATIENCE_S:g} s")


def peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


async def drop(client: Any, name: str) -> None:
    async for key in client.scan_iter(match=f"{name}:*", count=1000):
        await client.unlink(key)


def report(load: Load, runs: list[Run]) -> Table:
    """A line for each figure: its median, and what it was in each run."""
    table = Table(title=f"{load.events:,} events, {load.sessions:,} sessions, {load.channels} channels")
    table.add_column("")
    for heading in ("median", *(str(number) for number, _ in enumerate(runs, 1))):
        table.add_column(heading, justify="right")
    for what, form, figure in _FIGURES:
        figures = [figure(run) for run in runs]
        table.add_row(what, *(f"{one:{form}}" for one in (statistics.median(figures), *figures)))
    return table


_FIGURES: Final[list[tuple[str, str, Callable[[Run], float]]]] = [
    ("worker, events/s", ",.0f", lambda run: run.rate),
    ("Python that only reads and acknowledges", ",.0f", lambda run: run.python_rate),
    ("  worker against it", ".2f", lambda run: run.rate / run.python_rate),
    ("all that the server gives away", ",.0f", lambda run: run.server_rate),
    ("  worker against it", ".2f", lambda run: run.rate / run.server_rate),
    ("worker's memory at its peak, MB", ".0f", lambda run: run.worker_memory / 1e6),
    ("Redis' memory, B a segment", ".0f", lambda run: run.redis_memory / run.segments),
    ("Redis' memory, B a window", ",.0f", lambda run: run.redis_memory / run.windows),
    ("storing all windows, s", ".2f", lambda run: run.flush_s),
    ("windows stored wrong", ".0f", lambda run: run.wrong),
]


async def bench(arguments: argparse.Namespace) -> Measured:
    load = Load(arguments.events, arguments.sessions, arguments.channels, arguments.duplicates)
    servers = [] if arguments.redis else [start_valkey()]
    mongods = [] if arguments.mongodb else [start_mongod()]
    try:
        counting = Counting(arguments.redis or servers[0].url, arguments.mongodb or mongods[0].url, load)
        runs = [await counting.run(number) for number in range(arguments.runs)]
        costs = await stages.measure(counting.redis_url, load)
    finally:
        for server in (*servers, *mongods):
            server.stop()
    return Measured([report(load, runs), stages.report(costs)], sum(run.wrong for run in runs))


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("--events", type=int, default=200_000)
    options.add_argument("--sessions", type=int, default=1000)
    options.add_argument("--channels", type=int, default=50)
    options.add_argument("--duplicates", type=float, default=0.01)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--redis", help="URL of a server to use instead of an embedded one")
    options.add_argument("--mongodb", help="the same for MongoDB")
    return options


if __name__ == "__main__":
    sys.exit(main(parser(), bench))
