"""``make bench-storage``: what a stored window takes in MongoDB, with its indexes, for the 90 days that it is kept.

Hours of a thousand sessions are stored, 240 segments in each window, and what the collection and its indexes then take
on disk is divided by their number: the bytes of a document as it is sent, of the collection compressed, of the indexes.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from streamproc.embedded import start_mongod
from streamproc.stores.mongo.collection import COLLECTION, ensure_collection
from streamproc.stores.mongo.connect import connect

from .stock import HOUR_MS, Scale, Stock

_DATABASE: Final = "storage"


async def _measure(url: str, hours: int, sessions: int) -> Table:
    async with connect(url, app_name="bench-storage") as client:
        database = client[_DATABASE]
        await ensure_collection(database)
        first_ms = (time.time_ns() // 1_000_000 // HOUR_MS - hours) * HOUR_MS
        starts_ms = range(first_ms, first_ms + hours * HOUR_MS, HOUR_MS)
        windows = await Stock(Scale(sessions=sessions)).store(database, starts_ms)
        await client.admin.command("fsync")  # sizes are those of the last checkpoint
        found: dict[str, Any] = await database.command({"collStats": COLLECTION})
    table = Table(title=f"{windows:,} windows of 240 segments, MongoDB {await _version(url)}")
    for heading in ("bytes a window", "sent", "stored", "indexes", "stored and indexes"):
        table.add_column(heading, justify="right")
    stored, indexes = found["storageSize"], found["totalIndexSize"]
    sizes = (found["size"], stored, indexes, stored + indexes)
    table.add_row("", *(f"{size / windows:,.0f}" for size in sizes))
    return table


async def _version(url: str) -> str:
    async with connect(url, app_name="bench-storage") as client:
        return str((await client.server_info())["version"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-storage", description=__doc__)
    parser.add_argument("--hours", type=int, default=72)
    parser.add_argument("--sessions", type=int, default=1000)
    arguments = parser.parse_args()
    with start_mongod() as mongod:
        Console().print(asyncio.run(_measure(mongod.url, arguments.hours, arguments.sessions)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
