"""``make bench-windows``: what many windows cost, counted one event at a time and closed all at once.

For each size, events of as many sessions are counted by one worker process: each event of a commit falls into a window
of its own. Then all windows close at once; how fast they are stored is compared with a bare `insert_many` of the same
documents, at the same write concern, into a collection with the same options, in the same minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

import pymongo
import redis
from pymongo.write_concern import WriteConcern
from rich.table import Table

from streamproc.demo.stage import Worker
from streamproc.embedded import start_mongod, start_valkey
from streamproc.stores.mongo.collection import COLLECTION, EXPIRE_AFTER_SECONDS
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.keys import ShardKeys

from .command import Measured, main
from .counting import drop, peak_memory, variables, wait_until_stored, watch
from .load import Load, preload

_AT_ONCE: Final = 1000
_SIZES: Final = (1_000, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class Size:
    """What so many windows came to. Rates are events, windows or documents a second; memory is bytes."""

    windows: int
    count_rate: float
    flush_rate: float
    insert_rate: float
    worker_memory: int
    redis_memory_per_window: float
    wrong: int


async def measure(redis_url: str, mongodb_url: str, windows: int, events: int, quiet_s: float) -> Size:
    """Count `events` events of `windows` sessions with one worker, and have all their windows stored."""
    name = f"bench-{windows}"
    keys = ShardKeys(name, 0)
    client: Any = connect(redis_url)
    load = Load(events, windows, duplicates=0, in_turn=True)
    with redis.Redis.from_url(redis_url) as look, pymongo.MongoClient[Any](mongodb_url) as mongodb:
        await drop(client, name)
        mongodb.drop_database(name)
        truth = await preload(client, [keys.stream], load)
        before = int(look.info("memory")["used_memory"])
        worker = Worker(1, variables(redis_url, mongodb_url, name, quiet_s))
        try:
            await worker.start()
            count_rate = await watch(look, keys, events)
            per_window = (int(look.info("memory")["used_memory"]) - before) / windows
            flush_s = await wait_until_stored(look, keys)
            memory = peak_memory(worker.pid)
        finally:
            await worker.stop()
        documents = list(mongodb[name][COLLECTION].find())
        insert_s = _insert(mongodb, name, documents)
        mongodb.drop_database(name)
    await drop(client, name)
    await client.aclose()
    wrong = len(truth.wrong(documents))
    return Size(windows, count_rate, windows / flush_s, windows / insert_s, memory, per_window, wrong)


def _insert(mongodb: pymongo.MongoClient[Any], name: str, documents: list[dict[str, Any]]) -> float:
    """Seconds that a bare insert of all documents takes."""
    database = mongodb[name]
    options = {"timeField": "timestamp", "metaField": "metadata", "granularity": "minutes"}
    database.create_collection("bare", timeseries=options, expireAfterSeconds=EXPIRE_AFTER_SECONDS)
    for field in ("channel_id", "user_id", "session_id"):
        database["bare"].create_index([(f"metadata.{field}", 1), ("timestamp", -1)])
    bare = database["bare"].with_options(write_concern=WriteConcern(w="majority", j=True))
    begun_s = time.perf_counter()
    for first in range(0, len(documents), _AT_ONCE):
        bare.insert_many(documents[first : first + _AT_ONCE], ordered=False)
    return time.perf_counter() - begun_s


def report(sizes: list[Size]) -> Table:
    table = Table(title="one event for each window of a commit; then all windows close at once")
    headings = ("windows", "counted/s", "flushed/s", "inserted/s", "ratio", "worker MB", "B a window", "wrong")
    for heading in headings:
        table.add_column(heading, justify="right")
    for size in sizes:
        table.add_row(
            f"{size.windows:,}",
            f"{size.count_rate:,.0f}",
            f"{size.flush_rate:,.0f}",
            f"{size.insert_rate:,.0f}",
            f"{size.flush_rate / size.insert_rate:.2f}",
            f"{size.worker_memory / 1e6:.0f}",
            f"{size.redis_memory_per_window:,.0f}",
            str(size.wrong),
        )
    return table


async def bench(arguments: argparse.Namespace) -> Measured:
    sizes = []
    for windows in arguments.windows:
        # Servers of its own for each size: a server is slower after it has held a hundred thousand windows.
        with start_valkey() as valkey, start_mongod() as mongod:
            events = max(windows, arguments.events)
            quiet_s = 5 + events / 20_000
            sizes.append(await measure(valkey.url, mongod.url, windows, events, quiet_s))
    return Measured([report(sizes)], sum(size.wrong for size in sizes))


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="make bench-windows", description=__doc__)
    options.add_argument("--windows", type=int, nargs="+", default=list(_SIZES))
    options.add_argument("--events", type=int, default=100_000, help="at least as many as windows")
    return options


if __name__ == "__main__":
    sys.exit(main(parser(), bench))
