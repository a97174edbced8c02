"""``make bench``: how fast one worker counts, with everything on, beside what merely draining the stream costs.

Each run fills a stream, drains it twice with nothing but XREADGROUP and XACK (`floor`), then starts one worker
process and waits until everything is acknowledged and stored; what is stored is compared with what was published.
The rate is that between the first and the last acknowledgement, so the time a process needs to start is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pymongo
import redis
from rich.console import Console
from rich.table import Table

from streamproc.app.settings import PREFIX
from streamproc.demo.stage import Worker
from streamproc.embedded import start_mongod, start_valkey
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.keys import ShardKeys

from . import floor
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
    redis_memory_per_segment: float
    flush_s: float
    wrong: int


class Bench:
    """Two servers, and runs on them, each under a prefix and in a database of its own."""

    def __init__(self, redis_url: str, mongodb_url: str, load: Load) -> None:
        self._redis_url = redis_url
        self._mongodb_url = mongodb_url
        self._load = load

    async def run(self, number: int) -> Run:
        name = f"bench-{number}"
        keys = ShardKeys(name, 0)
        client: Any = connect(self._redis_url)
        with redis.Redis.from_url(self._redis_url) as look, pymongo.MongoClient[Any](self._mongodb_url) as mongodb:
            mongodb.drop_database(name)
            await drop(client, name)
            truth = await preload(client, keys.stream, self._load)
            python_rate = await floor.python(client, keys.stream)
            server_rate = await floor.server(client, self._redis_url, keys.stream)
            before = int(look.info("memory")["used_memory"])
            worker = Worker(1, variables(self._redis_url, self._mongodb_url, name, _QUIET_S))
            try:
                await worker.start()
                rate = await watch(look, keys, self._load.events)
                segments = self._load.events - truth.duplicates
                per_segment = (int(look.info("memory")["used_memory"]) - before) / segments
                flush_s = await wait_until_stored(look, keys)
                memory = peak_memory(worker.pid)
            finally:
                await worker.stop()
            wrong = truth.wrong(list(mongodb[name][COLLECTION].find()))
            mongodb.drop_database(name)
        await drop(client, name)
        await client.aclose()
        return Run(rate, python_rate, server_rate, memory, per_segment, flush_s, len(wrong))


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
            return (done - first[1]) / (now_s - first[0])
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError(f"not everything was counted within {_PATIENCE_S:g} s")


async def wait_until_stored(look: redis.Redis, keys: ShardKeys) -> float:
    """How long it took from the first window taken until none was left, in seconds."""
    begun_s, until_s = 0.0, time.perf_counter() + _PATIENCE_S
    while (now_s := time.perf_counter()) < until_s:
        open_, taken = int(look.zcard(keys.open)), int(look.zcard(keys.taken))
        if taken and not begun_s:
            begun_s = now_s
        if not open_ + taken:
            return now_s - (begun_s or now_s)
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError(f"not everything was stored within {_PATIENCE_S:g} s")


def peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


async def drop(client: Any, name: str) -> None:
    async for key in client.scan_iter(match=f"{name}:*", count=1000):
        await client.unlink(key)


def report(load: Load, runs: list[Run]) -> Table:
    """Each run, and the medians."""
    table = Table(title=f"{load.events:,} events, {load.sessions:,} sessions, {load.channels} channels")
    for heading in ("", "worker", "python", "ratio", "server", "ratio", "MB", "B/segment", "flush s", "wrong"):
        table.add_column(heading, justify="right")
    for number, run in enumerate(runs, 1):
        table.add_row(str(number), *_cells(run))
    fields = Run.__dataclass_fields__
    medians = Run(*(statistics.median(getattr(run, name) for run in runs) for name in fields))
    table.add_section()
    table.add_row("median", *_cells(medians))
    return table


def _cells(run: Run) -> list[str]:
    return [
        f"{run.rate:,.0f}",
        f"{run.python_rate:,.0f}",
        f"{run.rate / run.python_rate:.2f}",
        f"{run.server_rate:,.0f}",
        f"{run.rate / run.server_rate:.2f}",
        f"{run.worker_memory / 1e6:.0f}",
        f"{run.redis_memory_per_segment:.0f}",
        f"{run.flush_s:.2f}",
        f"{run.wrong:.0f}",
    ]


async def _main(arguments: argparse.Namespace) -> int:
    load = Load(arguments.events, arguments.sessions, arguments.channels, arguments.duplicates)
    console = Console()
    servers = [] if arguments.redis else [start_valkey()]
    mongods = [] if arguments.mongodb else [start_mongod()]
    try:
        bench = Bench(arguments.redis or servers[0].url, arguments.mongodb or mongods[0].url, load)
        runs = []
        for number in range(arguments.runs):
            with console.status(f"run {number + 1} of {arguments.runs}"):
                runs.append(await bench.run(number))
    finally:
        for server in (*servers, *mongods):
            server.stop()
    console.print(report(load, runs))
    console.print(f"rates in events a second; {platform.python_implementation()} {platform.python_version()}")
    return 1 if any(run.wrong for run in runs) else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--channels", type=int, default=50)
    parser.add_argument("--duplicates", type=float, default=0.01)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--redis", help="URL of a server to use instead of an embedded one")
    parser.add_argument("--mongodb", help="the same for MongoDB")
    return asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
