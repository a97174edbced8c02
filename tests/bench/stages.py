"""Where the time goes: microseconds an event, stage by stage, of the worker's processor and of the server's.

The consumer's steps are taken one after the other, not overlapped as the worker does it, so that each can be told from
the next. What the worker's side costs is its own processor time, waiting left out; what the server's side costs is what
the server itself counts (https://redis.io/docs/latest/commands/info/, `commandstats`).
"""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import redis
from rich.table import Table

from streamproc.core import details, events
from streamproc.core.commits import Planner
from streamproc.core.fold import fold
from streamproc.core.live import LiveWindows
from streamproc.core.windows import Windowing
from streamproc.metrics import LATENCY_BOUNDS_US
from streamproc.stores.redis.commits import CommitStore
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.entries import Batch, EntryStream
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.windows import WindowStore

from .load import Load, preload

_NAME: Final = "stages"
_AT_ONCE: Final = 2000
_SLICE: Final = 20
#: What the server does for us, by the command that it counts it under. A script's own time has in it what it calls.
_COMMANDS: Final = {
    "xreadgroup": "hand out entries (XREADGROUP)",
    "evalsha": "commit script, all in all",
    "hsetnx": "  of which adding segments (HSETNX)",
    "xack": "  of which acknowledging (XACK)",
}


@dataclass(slots=True)
class Costs:
    """Seconds in all, by stage, and how many events they were for."""

    events: int = 0
    worker: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    server: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        begun_s = time.process_time()
        yield
        self.worker[stage] += time.process_time() - begun_s


async def measure(url: str, load: Load) -> Costs:
    """Count a stream full of events, a step at a time."""
    client, reader = connect(url), connect(url)
    windowing = Windowing()
    shard = Shard(client, prefix=_NAME)
    stream = EntryStream(shard, reader, "one")
    costs = Costs()
    await preload(client, [shard.keys.stream], load)
    await stream.ensure_group()
    gc.collect()
    gc.freeze()
    with redis.Redis.from_url(url) as look:
        look.config_resetstat()
        await _count(costs, stream, shard, windowing)
        statistics: dict[str, Any] = look.info("commandstats")
        costs.server = {stage: statistics[f"cmdstat_{command}"]["usec"] / 1e6 for command, stage in _COMMANDS.items()}
        await _fold(costs, shard, windowing)
        for key in look.scan_iter(f"{_NAME}:*", count=1000):
            look.unlink(key)
    gc.unfreeze()
    await reader.aclose()
    await client.aclose()
    return costs


async def _count(costs: Costs, stream: EntryStream, shard: Shard, windowing: Windowing) -> None:
    planner, commits, live = Planner(windowing), CommitStore(shard, windowing), LiveWindows(LATENCY_BOUNDS_US)
    while True:
        with costs.of("read: take the batch from the socket"):
            batch: Batch = await stream.read_new(_AT_ONCE, 0)
        if not batch.entries:
            return
        costs.events += len(batch.entries)
        with costs.of("plan: decode, validate, judge, group, pack details"):
            plan = planner.plan(batch.entries, batch.now_ms)
        with costs.of("  of which decoding and validating JSON"):
            decoded = [events.decode(fields[1])[0] for _, fields in batch.entries if fields]
        with costs.of("  of which microseconds and the stored form"):
            details.encode_all([events.to_detail(event, events.epoch_us(event.received_at)) for event in decoded])
        with costs.of("commit: name the keys, send, take the answer"):
            outcome = await commits.commit(plan)
        with costs.of("live figures"):
            for start_ms, channel_id, counted in outcome.counted_details:
                live.add(start_ms, channel_id, counted)


async def _fold(costs: Costs, shard: Shard, windowing: Windowing) -> None:
    """At the flush: a window's segments become its measurement."""
    windows = WindowStore(shard, windowing)
    names = await shard.client.execute_command("ZRANGE", shard.keys.open, 0, -1)
    keys = [windowing.parse_name(name.decode()) for name in names]
    for first in range(0, len(keys), _SLICE):
        slice_ = keys[first : first + _SLICE]
        with costs.of("flush: fetch and decode"):
            found = await windows.fetch(slice_)
        with costs.of("flush: fold, make the document"):
            for key, segments in zip(slice_, found, strict=True):
                fold(key, segments).document(write=1)


def report(costs: Costs) -> Table:
    table = Table(title="microseconds an event")
    table.add_column("")
    table.add_column("worker", justify="right")
    table.add_column("server", justify="right")
    for stage, seconds in costs.worker.items():
        table.add_row(stage, _us(seconds, costs), "")
    for stage, seconds in costs.server.items():
        table.add_row(stage, "", _us(seconds, costs))
    return table


def _us(seconds: float, costs: Costs) -> str:
    return f"{seconds * 1e6 / costs.events:.2f}"
