"""``make bench-meanwhile``: counting while very many windows are flushed.

All windows of one hour close at once. While they are being stored, as many events again come in, of other windows; how
fast they are counted is compared with how fast the first ones were, when there was nothing to flush.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, replace
from typing import Any, Final

import redis
from rich.table import Table

from streamproc.demo.stage import Worker
from streamproc.embedded import start_mongod, start_valkey
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.keys import ShardKeys

from .command import Measured, main
from .counting import peak_memory, variables, watch
from .load import Load, preload

_NAME: Final = "meanwhile"
_LOOK_S: Final = 0.02
_PATIENCE_S: Final = 180.0
_CHUNK: Final = 2000

# Moves entries from one stream to another within the server: no client has to be fast enough to fill the stream.
_MOVE: Final = """
local moved = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
for _, entry in ipairs(moved) do redis.call('XADD', KEYS[2], '*', unpack(entry[2])) end
return #moved > 0 and moved[#moved][1] or ''
"""


@dataclass(frozen=True, slots=True)
class Result:
    """Rates are events or windows a second; memory is bytes."""

    windows: int
    alone_rate: float
    meanwhile_rate: float
    flush_rate: float
    worker_memory: int


async def measure(redis_url: str, mongodb_url: str, windows: int) -> Result:
    """Count one event for each of `windows` windows; have them stored, and count as many again meanwhile."""
    keys = ShardKeys(_NAME, 0)
    client: Any = connect(redis_url)
    load = Load(windows, windows, duplicates=0, in_turn=True)
    await preload(client, [keys.stream], load)
    await preload(client, [f"{keys.stream}:later"], replace(load, first_session=windows))
    worker = Worker(1, variables(redis_url, mongodb_url, _NAME, 10 + windows / 10_000))
    with redis.Redis.from_url(redis_url) as look:
        try:
            await worker.start()
            alone_rate = await watch(look, keys, windows)
            await _until(look, keys, lambda taken, _: taken > 0)
            rates = await asyncio.gather(
                asyncio.to_thread(_move, redis_url, keys),
                _flush_rate(look, keys),
                _count_rate(look, keys, windows, 2 * windows),
            )
            memory = peak_memory(worker.pid)
        finally:
            await worker.stop()
    await client.aclose()
    return Result(windows, alone_rate, rates[2], rates[1], memory)


def _move(redis_url: str, keys: ShardKeys) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        script = client.register_script(_MOVE)
        last = "-"
        while last:
            last = str(script(keys=[f"{keys.stream}:later", keys.stream], args=[last, _CHUNK]))
            last = f"({last}" if last else ""


async def _count_rate(look: redis.Redis, keys: ShardKeys, begin: int, end: int) -> float:
    """Events a second from `begin` counted until `end` are, or until nothing is left to flush."""
    begun_s = 0.0
    while True:
        now_s, counted = time.perf_counter(), int(look.hget(keys.ledger, "counted") or 0)
        if not begun_s and counted > begin:
            begun_s, begin = now_s, counted
        if counted >= end or (begun_s and not look.zcard(keys.taken)):
            return (counted - begin) / max(now_s - begun_s, _LOOK_S)
        await asyncio.sleep(_LOOK_S)


async def _flush_rate(look: redis.Redis, keys: ShardKeys) -> float:
    """Windows a second that are stored, from now until all that are taken or due are."""
    begun_s, closed = time.perf_counter(), int(look.zcard(keys.closed))
    await _until(look, keys, lambda taken, due: not taken and not due)
    return (int(look.zcard(keys.closed)) - closed) / (time.perf_counter() - begun_s)


async def _until(look: redis.Redis, keys: ShardKeys, condition: Any) -> None:
    until_s = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < until_s:
        now_ms = int(look.time()[0]) * 1000
        if condition(int(look.zcard(keys.taken)), int(look.zcount(keys.open, "-inf", now_ms))):
            return
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError(f"nothing came of it within {_PATIENCE_S:g} s")


def report(result: Result) -> Table:
    table = Table(title=f"{result.windows:,} windows are flushed, and as many events come in")
    for heading in ("counted/s alone", "counted/s meanwhile", "ratio", "flushed/s meanwhile", "worker MB"):
        table.add_column(heading, justify="right")
    table.add_row(
        f"{result.alone_rate:,.0f}",
        f"{result.meanwhile_rate:,.0f}",
        f"{result.meanwhile_rate / result.alone_rate:.2f}",
        f"{result.flush_rate:,.0f}",
        f"{result.worker_memory / 1e6:.0f}",
    )
    return table


async def bench(arguments: argparse.Namespace) -> Measured:
    with start_valkey() as valkey, start_mongod() as mongod:
        return Measured([report(await measure(valkey.url, mongod.url, arguments.windows))])


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="make bench-meanwhile", description=__doc__)
    options.add_argument("--windows", type=int, default=100_000)
    return options


if __name__ == "__main__":
    sys.exit(main(parser(), bench))
