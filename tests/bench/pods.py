"""``make bench-pods``: 1, 2 and 4 workers, on one shard and on several, and what saturates first.

Each run drains the same full streams with so many workers. Beside the rate stands how busy each kind of process was,
in processors (1.00 is one processor to the full): what is at its limit is what more pods would have to wait for.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pymongo
import redis
from rich.table import Table

from streamproc.app.settings import PREFIX
from streamproc.demo.stage import Worker
from streamproc.embedded import EmbeddedServer, start_mongod, start_valkey
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.keys import ShardKeys

from .command import Measured, main
from .counting import drop, variables, wait_until_stored
from .load import Load, preload

_LOOK_S: Final = 0.02
_PATIENCE_S: Final = 180.0
_QUIET_S: Final = 12.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """What so many workers came to. `rate` is events a second; busy is processors."""

    shards: int
    workers: int
    rate: float
    server_busy: float
    workers_busy: float
    wrong: int


@dataclass(frozen=True, slots=True)
class _Moment:
    at_s: float
    done: int
    server_s: float
    workers_s: float


async def measure(valkey: EmbeddedServer, mongodb_url: str, load: Load, shards: int, workers: int) -> Run:
    """Drain `shards` full streams with `workers` workers."""
    name = f"pods-{shards}-{workers}"
    keys = [ShardKeys(name, number) for number in range(shards)]
    settings = variables(valkey.url, mongodb_url, name, _QUIET_S) | {f"{PREFIX}SHARDS": str(shards)}
    crew = [Worker(number, settings) for number in range(workers)]
    client: Any = connect(valkey.url)
    with redis.Redis.from_url(valkey.url) as look, pymongo.MongoClient[Any](mongodb_url) as mongodb:
        truth = await preload(client, [one.stream for one in keys], load)
        await client.aclose()
        try:
            await asyncio.gather(*(worker.start() for worker in crew))
            first, last = await _watch(look, keys, load.events, valkey.pid, [worker.pid for worker in crew])
            for one in keys:
                await wait_until_stored(look, one)
        finally:
            await asyncio.gather(*(worker.stop() for worker in crew))
        wrong = truth.wrong(list(mongodb[name][COLLECTION].find()))
        mongodb.drop_database(name)
    client = connect(valkey.url)
    await drop(client, name)
    await client.aclose()
    took_s = max(last.at_s - first.at_s, _LOOK_S)
    return Run(
        shards,
        workers,
        (last.done - first.done or last.done) / took_s,
        (last.server_s - first.server_s) / took_s,
        (last.workers_s - first.workers_s) / took_s,
        len(wrong),
    )


async def _watch(
    look: redis.Redis, keys: Sequence[ShardKeys], events: int, server: int, workers: Sequence[int]
) -> tuple[_Moment, _Moment]:
    """From when every worker has begun (a tenth is done) until all is done."""
    first: _Moment | None = None
    until_s = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < until_s:
        done = 0
        for one in keys:
            done += sum(int(count or 0) for count in look.hmget(one.ledger, ["counted", "duplicates"]))
        if done >= events / 10:
            now = _Moment(time.perf_counter(), done, _processor_s(server), sum(map(_processor_s, workers)))
            first = first or now
            if done >= events:
                return first, now
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError(f"not everything was counted within {_PATIENCE_S:g} s")


def _processor_s(pid: int) -> float:
    """Processor time of a process so far, in seconds (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def report(runs: Sequence[Run]) -> Table:
    table = Table(title="workers and shards")
    for heading in ("shards", "workers", "events/s", "of one worker", "server busy", "workers busy", "wrong"):
        table.add_column(heading, justify="right")
    one = next(run.rate for run in runs if run.workers == 1)
    for run in runs:
        table.add_row(
            *(str(run.shards), str(run.workers), f"{run.rate:,.0f}", f"{run.rate / one:.2f}"),
            *(f"{run.server_busy:.2f}", f"{run.workers_busy:.2f}", str(run.wrong)),
        )
    return table


async def bench(arguments: argparse.Namespace) -> Measured:
    load = Load(arguments.events, arguments.sessions)
    runs = []
    for shards in arguments.shards:
        for workers in arguments.workers:
            # Servers of its own for each run: none is slower for what the one before left.
            with start_valkey() as valkey, start_mongod() as mongod:
                runs.append(await measure(valkey, mongod.url, load, shards, workers))
    return Measured([report(runs)], sum(run.wrong for run in runs))


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="make bench-pods", description=__doc__)
    options.add_argument("--events", type=int, default=300_000)
    options.add_argument("--sessions", type=int, default=1000)
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    options.add_argument("--shards", type=int, nargs="+", default=[1, 4])
    return options


if __name__ == "__main__":
    sys.exit(main(parser(), bench))
