"""What the observers show, on real servers: a primary whose replica is frozen, a Redis that is gone."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from one_shard import OneShard, one_shard
from pods import until

from streamproc.core.ledger import LEDGER_TERMS
from streamproc.embedded import EmbeddedServer, start_valkey
from streamproc.metrics import Metrics
from streamproc.roles.observer import Observer
from streamproc.roles.server_observer import ServerObserver
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.shard import Shard


@pytest.fixture
async def shard(redis_url: str, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(redis_url, mongod.url, mongo_database_name) as one:
        yield one


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"streamproc_{name}", {"shard": "0", **labels})


async def test_a_window_that_nobody_flushes_is_overdue(shard: OneShard) -> None:
    observer = Observer(shard.shard, shard.metrics)
    await shard.count("a")
    await asyncio.sleep(0.01)
    await observer.run_once()
    overdue_s = sample(shard.metrics, "overdue_seconds")
    assert sample(shard.metrics, "due_windows") == 1
    assert overdue_s is not None
    assert overdue_s > 0
    await shard.flusher().run_once()
    await observer.run_once()
    assert (sample(shard.metrics, "due_windows"), sample(shard.metrics, "overdue_seconds")) == (0, 0)


async def test_memory_and_its_limit_are_those_of_the_server(shard: OneShard) -> None:
    limit: Any = shard.redis.config_get("maxmemory")["maxmemory"]
    shard.redis.config_set("maxmemory", "300mb")
    try:
        await ServerObserver(shard.shard, shard.metrics).run_once()
    finally:
        shard.redis.config_set("maxmemory", limit)
    assert sample(shard.metrics, "redis_memory_limit_bytes") == 300 * 1024 * 1024
    used = sample(shard.metrics, "redis_memory_used_bytes")
    assert used is not None
    assert 100_000 < used < 300 * 1024 * 1024
    assert sample(shard.metrics, "replicas") == 0
    assert math.isnan(sample(shard.metrics, "replica_lag_seconds") or 0)


async def test_a_shard_that_cannot_be_seen_is_shown_no_longer_after_a_while(shard: OneShard) -> None:
    observer = Observer(shard.shard, shard.metrics)
    await ServerObserver(shard.shard, shard.metrics).run_once()
    await observer.run_once()
    shard.redis.xgroup_destroy(shard.keys.stream, "streamproc")
    for _ in range(5):
        assert await observer.run_once() is None
    assert sample(shard.metrics, "lag_seconds") == 0
    await observer.run_once()
    gone = ("lag_seconds", "overdue_seconds", "redis_memory_used_bytes", "replicas", "ledger_imbalance")
    assert [sample(shard.metrics, name) for name in gone] == [None] * len(gone)
    assert [sample(shard.metrics, "ledger_entries", term=term) for term in LEDGER_TERMS] == [None] * len(LEDGER_TERMS)
    await shard.stream("nobody").ensure_group()
    await observer.run_once()
    assert sample(shard.metrics, "lag_seconds") == 0


@contextmanager
def primary_and_replica() -> Iterator[tuple[EmbeddedServer, EmbeddedServer]]:
    with (
        start_valkey(extra_args=("--repl-diskless-sync-delay", "0")) as primary,
        start_valkey(extra_args=("--replicaof", f"127.0.0.1 {primary.port}")) as replica,
    ):
        yield primary, replica


async def test_a_frozen_replica_falls_behind_and_catches_up() -> None:
    metrics = Metrics()
    with primary_and_replica() as (primary, replica), redis.Redis.from_url(primary.url) as client:
        connection = connect(primary.url)
        observer = ServerObserver(Shard(connection), metrics)

        async def lag_s() -> float:
            """Of the one replica; NaN while it is not online."""
            client.set("something", "new")
            await observer.run_once()
            return sample(metrics, "replica_lag_seconds") or 0

        async def keeps_up() -> bool:
            return await lag_s() < 1.5

        async def is_behind() -> bool:
            return await lag_s() > 1.5

        try:
            await until(keeps_up)
            os.kill(replica.pid, signal.SIGSTOP)
            await until(is_behind)
            assert sample(metrics, "replicas") == 1
            os.kill(replica.pid, signal.SIGCONT)
            await until(keeps_up)
        finally:
            os.kill(replica.pid, signal.SIGCONT)
            await connection.aclose()
