"""``make bench-memory``: what a segment costs in Redis for the 24 hours and more that its detail is kept.

The same segments are written in each layout to an empty server, and the growth of its memory is divided by their
number:

    mission   a hash of 18 fields for every segment, as the mission has it
    ours      a hash for every window, a compact array for every segment
    listpack  ours, on a server whose limits let a window of that size be one flat piece of memory
    stream    what the entry takes in the stream, for as long as it is kept there
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import orjson
from rich.table import Table

from streamproc.core.commits import Entry, Planner
from streamproc.core.windows import Windowing
from streamproc.embedded import start_redis, start_valkey
from streamproc.stores.redis.commits import CommitStore
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.shard import Shard

from .command import Measured, main
from .load import Load, Truth, last_hour, payloads

_AT_ONCE: Final = 1000
_DAY_S: Final = 86_400
#: What Redis and Valkey allow a small hash as they come, and what lets a window of 240 segments be one.
USUAL: Final = {"hash-max-listpack-entries": 128, "hash-max-listpack-value": 64}
GENEROUS: Final = {"hash-max-listpack-entries": 512, "hash-max-listpack-value": 512}

#: Without grace, all events of the hour before are late, and what is late is due at once: a flush need not wait.
WINDOWING: Final = Windowing(grace_ms=0, quiet_ms=1)

Write = Callable[[Any, list[bytes]], Awaitable[None]]


async def mission(client: Any, events: list[bytes]) -> None:
    """A hash of 18 fields for each segment, with its time to live."""
    for first in range(0, len(events), _AT_ONCE):
        pipeline = client.pipeline(transaction=False)
        for payload in events[first : first + _AT_ONCE]:
            fields = {"total_ms": 1200.25, **orjson.loads(payload)}
            fields["error"] = fields["error"] or ""
            hour = datetime.fromisoformat(fields["received_at"]).strftime("%Y%m%d%H")
            key = f"dubbing:segment:{hour}:{fields['channel_id']}:{fields['segment_id']}"
            pipeline.hset(key, mapping=fields)
            pipeline.expire(key, _DAY_S)
        await pipeline.execute()


async def ours(client: Any, events: list[bytes]) -> None:
    """What commits write: the stream itself is not part of it."""
    planner, store = Planner(WINDOWING), CommitStore(Shard(client), WINDOWING)
    now_ms = time.time_ns() // 1_000_000
    for first in range(0, len(events), _AT_ONCE):
        batch: list[Entry] = [
            (f"{now_ms}-{number}".encode(), (b"data", payload))
            for number, payload in enumerate(events[first : first + _AT_ONCE])
        ]
        await store.commit(planner.plan(batch, now_ms))


async def stream(client: Any, events: list[bytes]) -> None:
    """What a publisher writes."""
    for first in range(0, len(events), _AT_ONCE):
        pipeline = client.pipeline(transaction=False)
        for payload in events[first : first + _AT_ONCE]:
            pipeline.xadd("dubbing:{0}:segments", {"data": payload})
        await pipeline.execute()


async def bytes_of(client: Any, write: Write, events: list[bytes], limits: dict[str, int]) -> tuple[float, float]:
    """Bytes that a segment takes in Redis, and microseconds that writing one took."""
    await client.execute_command("FLUSHALL", "SYNC")
    for name, value in limits.items():
        await client.config_set(name, value)
    await write(client, events[:1])  # scripts are loaded, buffers are made
    await client.execute_command("FLUSHALL", "SYNC")
    before = int((await client.info("memory"))["used_memory"])
    begun_s = time.perf_counter()
    await write(client, events)
    took_us = (time.perf_counter() - begun_s) * 1e6 / len(events)
    after = int((await client.info("memory"))["used_memory"])
    return (after - before) / len(events), took_us


def events_of(segments: int, sessions: int) -> list[bytes]:
    """Of each session as many: one of 15-second segments has 240 in an hour, and no more."""
    hour = last_hour(time.time() * 1000)
    load = Load(segments, sessions, channels=max(1, sessions // 20), duplicates=0, in_turn=True)
    return list(payloads(load, hour, Truth()))


async def measure(url: str, windows: int, segments: int) -> Table:
    client: Any = connect(url)
    full, single = events_of(windows * segments, windows), events_of(windows * 10, 10**9)
    table = Table(title=f"{windows} windows of {segments} segments, {sum(map(len, full)) / len(full):.0f} B an event")
    for heading in ("layout", "B a segment", "of the mission's", "us to write one"):
        table.add_column(heading, justify="right")
    of_mission, took_us = await bytes_of(client, mission, full, USUAL)
    table.add_row("mission", f"{of_mission:.0f}", "1.00", f"{took_us:.1f}")
    for name, limits in (("ours", USUAL), ("ours, listpack", GENEROUS)):
        found, took_us = await bytes_of(client, ours, full, limits)
        table.add_row(name, f"{found:.0f}", f"{found / of_mission:.2f}", f"{took_us:.1f}")
    found, took_us = await bytes_of(client, ours, single, USUAL)
    table.add_row("ours, a window of one segment", f"{found:.0f}", f"{found / of_mission:.2f}", f"{took_us:.1f}")
    found, took_us = await bytes_of(client, stream, full, USUAL)
    table.add_row("stream", f"{found:.0f}", f"{found / of_mission:.2f}", f"{took_us:.1f}")
    await client.config_set("hash-max-listpack-entries", 512)
    await client.aclose()
    return table


async def bench(arguments: argparse.Namespace) -> Measured:
    with (start_valkey if arguments.server == "valkey" else start_redis)() as server:
        return Measured([await measure(server.url, arguments.windows, arguments.segments)])


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="make bench-memory", description=__doc__)
    options.add_argument("--windows", type=int, default=1000)
    options.add_argument("--segments", type=int, default=240)
    options.add_argument("--server", choices=("valkey", "redis"), default="valkey")
    return options


if __name__ == "__main__":
    sys.exit(main(parser(), bench))
