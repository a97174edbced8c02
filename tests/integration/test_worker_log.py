"""The log of a worker whose traffic is full of user ids: none is in it, and it does not grow with what is counted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pods import Pods, get, leave, pods, until

from streamproc.demo.stage import Worker
from streamproc.embedded import EmbeddedServer, start_mongod

#: In every place where an id may stand; no word of ours.
ID = "dana@example.com"
KEY = "a key that nobody will guess"
MOST_LINES = 25


@pytest.fixture(scope="module")
def mongod_that_dies() -> Iterator[EmbeddedServer]:
    with start_mongod() as server:
        yield server


@pytest.fixture
async def system(valkey: EmbeddedServer, mongod_that_dies: EmbeddedServer) -> AsyncIterator[Pods]:
    async with pods(valkey.url, mongod_that_dies.url, ERASURE_KEY=KEY) as one:
        yield one


def segment(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "segment_id": f"segment-{number}",
        "channel_id": "kan-11",
        "session_id": f"session-{number % 40}",
        "user_id": f"{ID}-{number % 40}",
        "received_at": datetime.now(UTC),
        "extraction_ms": 45,
        "dubbing_ms": 1100,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
        **fields,
    }


def publish(system: Pods, first: int, count: int) -> None:
    """Good and bad entries in turn."""
    for number in range(first, first + count):
        system.publish(segment(number))
        system.add("data", json.dumps(segment(number, dubbing_ms="fast"), default=str))
        system.add("user_id", ID, "session_id", ID)


async def until_told(worker: Worker, words: str) -> None:
    async def told() -> bool:
        return words in worker.log_tail(10_000)

    await until(told, worker.log_tail)


async def until_named(worker: Worker, words: str) -> None:
    async def named() -> bool:
        return words in (await get(worker, "/readyz"))[1]

    await until(named, worker.log_tail)


async def erase(system: Pods, user_id: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamproc", "erase", "--user", user_id),
        env={**os.environ, **system.variables},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert ID not in said.decode()


async def spoil_a_window(system: Pods, worker: Worker, number: int) -> None:
    """A stranger overwrites the key of an open window, whose name holds the user's id; and takes that back."""
    system.publish(segment(number))

    async def counted() -> bool:
        return bool(system.redis.zcard(system.keys.open))

    await until(counted)
    (name,) = system.redis.zrange(system.keys.open, -1, -1)
    key = system.keys.window(name.decode()).segments
    before = system.redis.dump(key)
    system.redis.set(key, ID)
    try:
        await until_named(worker, "something of another type")
    finally:
        system.redis.restore(key, 0, before, replace=True)


async def take_mongodb_away(worker: Worker, server: EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    await until_named(worker, "nothing listens there")
    await asyncio.to_thread(server.restart)
    await until_told(worker, "works again")


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_a_log_has_no_user_id_and_does_not_grow_with_the_events(
    system: Pods, mongod_that_dies: EmbeddedServer, level: str
) -> None:
    worker = await system.start(LOG_FORMAT="json", LOG_LEVEL=level)
    publish(system, 0, 1)
    await system.settle()
    await erase(system, f"{ID}-0")
    publish(system, 0, 300)
    await take_mongodb_away(worker, mongod_that_dies)
    await spoil_a_window(system, worker, 1)
    publish(system, 300, 1000)
    await system.settle()
    code, log = await leave(worker)
    assert code == 0
    assert ID not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert len(lines) <= MOST_LINES, log
    assert all({"at", "level", "logger", "message"} <= line.keys() for line in lines)
    said = [line["message"] for line in lines]
    for words in (
        "starts as",
        "bad input: ",
        "Start MongoDB",
        "works again",
        "something of another type",
        "ends after",
    ):
        assert [one for one in said if words in one], f"{words}: {log}"
    (end,) = [line for line in lines if "ends after" in line["message"]]
    assert end["counted"] + end["malformed"] + end["erased"] == 3 * (1 + 300 + 1000) + 1
    assert ("debug" in {line["level"] for line in lines}) == (level == "debug")
