"""Each failure provoked for real, against the commands that meet it: one message with cause and remedy, no traceback.

A worker waits where waiting can help, and says so once in its log and on /readyz; else it ends. Commands end with 1.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pymongo
import pytest
import redis
from pods import Pods, get, leave, outcome, pods, troubles, until
from provoking import (
    SECRET,
    Provoke,
    Servers,
    another_collection,
    another_layout,
    disk_full,
    guarded_mongod,
    mongodb_url,
    needless_password,
    settings,
    tls_server,
    web_server,
    with_parameters,
    with_password,
    with_settings,
    without_permission,
    wrong_type_of_key,
    wrong_type_of_layout,
)

from streamproc.answers.overview import overview
from streamproc.app.connections import Connections
from streamproc.embedded import EmbeddedServer, start_mongod, start_valkey

COMMANDS = {
    "init": (),
    "audit": (),
    "erase": ("--user", "somebody"),
    "publish": ("--seconds", "1"),
}


@dataclass
class Failure:
    """How to provoke it (a context that gives settings), what is said, who meets it, whether a worker waits."""

    provoke: Provoke
    words: tuple[str, ...]
    met_by: tuple[str, ...] = ("worker", *COMMANDS)
    worker_waits: bool = True


READING = (
    ("audit",),
    ("status",),
    ("dead-letters", "list"),
    ("segments", "kan-11"),
    ("hourly", "kan-11"),
    ("trends", "kan-11"),
    ("user", "dana"),
)
STORES_IN_MONGODB = ("worker", "init", "audit", "erase")


FAILURES: dict[str, Failure] = {
    "redis down": Failure(
        with_settings(REDIS_URL="redis://127.0.0.1:1"),
        ("redis at redis://127.0.0.1:1: nothing listens there", "Start Redis, or correct STREAMPROC_REDIS_URL"),
    ),
    "redis on an unknown host": Failure(
        with_settings(REDIS_URL="redis://no-such-host.invalid"),
        ("no machine of that name is known", "Correct the host in STREAMPROC_REDIS_URL"),
    ),
    "redis wants a password": Failure(
        with_password, ("it wants a password, and none is given", "STREAMPROC_REDIS_URL_FILE")
    ),
    "redis refuses the password": Failure(
        lambda servers: with_password(servers, ":wr0ng@"),
        ("it refuses user or password", "Correct them in STREAMPROC_REDIS_URL"),
    ),
    "redis has no password": Failure(
        needless_password, ("it has no password", "Take the password out of STREAMPROC_REDIS_URL")
    ),
    "redis does not permit it": Failure(
        without_permission, ("its user may not do what streamproc does", "ACL SETUSER <user>")
    ),
    "redis drops keys": Failure(
        with_parameters(maxmemory_policy="allkeys-lru", maxmemory="1gb"),
        ("it drops keys when its memory is full", "CONFIG SET maxmemory-policy noeviction"),
        met_by=("worker", "init"),
    ),
    "redis has no memory": Failure(
        with_parameters(maxmemory="1mb"),
        ("its memory is full, so it refuses writes", "Raise maxmemory on Redis"),
        met_by=("publish",),
    ),
    "redis has no disk": Failure(
        disk_full, ("it cannot save to its disk", "Free space on Redis' disk"), met_by=("worker", "init", "publish")
    ),
    "another program's key": Failure(
        wrong_type_of_key,
        ("something of another type", "set another STREAMPROC_PREFIX"),
        met_by=("worker", "init", "audit", "publish"),
    ),
    "another program's layout": Failure(
        wrong_type_of_layout, ("something of another type", "set another STREAMPROC_PREFIX")
    ),
    "another layout": Failure(
        another_layout,
        ("shards is 4 there and 1 here", "same SHARDS and WINDOW_SECONDS, or use another PREFIX"),
        worker_waits=False,
    ),
    "no redis": Failure(
        web_server("REDIS_URL", "redis"),
        ("what answers there is no Redis", "Correct host and port in STREAMPROC_REDIS_URL"),
        worker_waits=False,
    ),
    "no cluster": Failure(
        with_settings(REDIS_CLUSTER="true"), ("it is no cluster", "STREAMPROC_REDIS_CLUSTER=false"), worker_waits=False
    ),
    "no such database": Failure(
        lambda servers: settings(REDIS_URL=servers.valkey.url.removesuffix("/0") + "/99"),
        ("it has no database of that number", "Correct the number"),
        worker_waits=False,
    ),
    "redis speaks TLS": Failure(
        tls_server("REDIS_URL", "redis"),
        ("what answers there is no Redis", "begin it with rediss:// if the server speaks TLS"),
        worker_waits=False,
    ),
    "redis speaks no TLS": Failure(
        lambda servers: settings(REDIS_URL=servers.valkey.url.replace("redis://", "rediss://")),
        ("no connection comes about in time", "begins with rediss:// only if it speaks TLS"),
    ),
    "mongodb down": Failure(
        with_settings(MONGODB_URL="mongodb://127.0.0.1:1"),
        ("mongodb at mongodb://127.0.0.1:1: nothing listens there", "Start MongoDB, or correct STREAMPROC_MONGODB_URL"),
        met_by=STORES_IN_MONGODB,
    ),
    "mongodb wants a password": Failure(
        guarded_mongod,
        ("it wants a user and a password, and none are given", "STREAMPROC_MONGODB_URL_FILE"),
        met_by=STORES_IN_MONGODB,
    ),
    "mongodb refuses the password": Failure(
        lambda servers: mongodb_url(servers, f"dana:{SECRET}@"),
        ("it refuses user or password", "authSource"),
        met_by=STORES_IN_MONGODB,
    ),
    "no mongodb": Failure(
        # The driver tells of the wrong answer, or else that the connection was lost: whichever it sees last.
        web_server("MONGODB_URL", "mongodb"),
        ("mongodb at mongodb://127.0.0.1:", "STREAMPROC_MONGODB_URL"),
        met_by=("init", "audit", "erase"),
    ),
    "mongodb speaks no TLS": Failure(
        lambda servers: mongodb_url(servers, options="?tls=true"),
        ("no TLS connection comes about", "Take tls=true out of STREAMPROC_MONGODB_URL"),
        met_by=STORES_IN_MONGODB,
    ),
    "mongodb speaks TLS": Failure(
        tls_server("MONGODB_URL", "mongodb"),
        ("cuts the connection", "says tls=true if it speaks TLS"),
        met_by=STORES_IN_MONGODB,
    ),
    "another replica set": Failure(
        lambda servers: mongodb_url(servers, options="?replicaSet=other"),
        ("no primary of the replica set can be reached", "replicaSet= in STREAMPROC_MONGODB_URL"),
        met_by=STORES_IN_MONGODB,
    ),
    "another collection": Failure(
        another_collection,
        ("expected 'timeseries'", "Set STREAMPROC_MONGODB_DATABASE to a database without"),
        met_by=("worker", "init"),
        worker_waits=False,
    ),
}


@pytest.fixture(scope="module")
def spoiled_valkey() -> Iterator[EmbeddedServer]:
    with start_valkey() as server:
        yield server


@pytest.fixture(scope="module")
def spoiled_mongod() -> Iterator[EmbeddedServer]:
    with start_mongod() as server:
        yield server


@pytest.fixture
async def system(spoiled_valkey: EmbeddedServer, spoiled_mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    """One that workers have run on, with an erasure key."""
    async with pods(spoiled_valkey.url, spoiled_mongod.url, ERASURE_KEY="a key that nobody will guess") as one:
        connections = Connections(one.settings)
        await connections.agree_on_layout(connections.shards[0], create=True)
        await connections.close()
        yield one


@pytest.fixture
def servers(system: Pods, spoiled_valkey: EmbeddedServer, spoiled_mongod: EmbeddedServer) -> Iterator[Servers]:
    """With an admin whose connection stays open, whatever password is set."""
    admin = redis.Redis.from_url(spoiled_valkey.url, decode_responses=True, single_connection_client=True)
    with admin, pymongo.MongoClient[dict[str, Any]](spoiled_mongod.url) as client:
        database = client[system.settings.mongodb_database]
        yield Servers(spoiled_valkey, spoiled_mongod, admin, database, system.keys.stream, system.keys.layout)


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_is_told_with_cause_and_remedy(system: Pods, servers: Servers, name: str) -> None:
    failure = FAILURES[name]
    with ExitStack() as stack:
        change = stack.enter_context(failure.provoke(servers))
        system.variables |= {f"STREAMPROC_{setting}": value for setting, value in change.items()}
        runs = [assert_told(system, command, failure) for command in COMMANDS if command in failure.met_by]
        if "worker" in failure.met_by:
            runs.append(
                assert_worker_waits(system, failure) if failure.worker_waits else assert_worker_ends(system, failure)
            )
        told = await asyncio.gather(*runs, return_exceptions=True)  # each is let end, whatever the others do
    assert [error for error in told if error] == []


async def test_what_only_reads_answers_while_redis_takes_no_writes(system: Pods, servers: Servers) -> None:
    """Then above all somebody wants to look."""
    with disk_full(servers):
        ends = await asyncio.gather(*(run(system, *command) for command in READING))
        connections = Connections(system.settings)
        seen = await overview(connections)
        await connections.close()
    assert [code for code, _ in ends] == [0] * len(READING), ends
    (trouble,) = seen.troubles
    assert (seen.verdict, trouble.what) == ("down", "writes")  # and not that no worker is heard of
    assert "it cannot save to its disk" in trouble.message
    assert "Free space" in trouble.remedy


async def assert_told(system: Pods, command: str, failure: Failure) -> None:
    """One line, exit code 1."""
    code, said = await run(system, command, *COMMANDS[command])
    lines = [line for line in said.splitlines() if " INFO " not in line]
    assert (code, len(lines)) == (1, 1), f"{command}: {said}"
    assert_words(lines[0], failure, command)


async def assert_worker_ends(system: Pods, failure: Failure) -> None:
    code, said = await run(system, "worker", "--port", "0")
    complaints = [line for line in said.splitlines() if " INFO " not in line]
    assert (code, len(complaints)) == (1, 1), said
    assert_words(complaints[0], failure, "worker")


async def assert_worker_waits(system: Pods, failure: Failure) -> None:
    """It says so on /readyz and once in its log, and leaves when told to."""
    worker = await system.start()

    async def told() -> bool:
        status, body = await get(worker, "/readyz")
        return status == 503 and all(word in " ".join(json.loads(body)["trouble"]) for word in failure.words)

    await until(told, worker.log_tail)
    _, body = await get(worker, "/readyz")
    assert_words(body, failure, "readyz")
    code, said = await leave(worker)
    complaints = troubles(worker)
    assert (code, len(complaints)) == (0, 1), said
    assert_words(complaints[0], failure, "worker")


def assert_words(said: str, failure: Failure, where: str) -> None:
    missing = [word for word in failure.words if word not in said]
    assert not missing, f"{where}: {said}"
    forbidden = [word for word in (SECRET, "wr0ng", "Traceback", "somebody") if word in said]
    assert not forbidden, f"{where}: {said}"


async def run(system: Pods, *arguments: str) -> tuple[int, str]:
    """Run a command to its end. Returns its exit code, and what it said on standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamproc", *arguments),
        env={**os.environ, **system.variables},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await outcome(process)
    assert process.returncode is not None
    return process.returncode, said.decode()
