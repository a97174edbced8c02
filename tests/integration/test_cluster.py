"""Several shards on a Valkey Cluster of three masters, each with a replica: all of it works there, and stays exact."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import orjson
import pytest
from chaos.cluster_faults import freeze_master, move_slot
from chaos.cluster_stage import ClusterStage
from chaos.valkey_cluster import ValkeyCluster, valkey_cluster
from pods import Pods, get, pods, until
from web.serving import Web

from streamproc import (
    BlockingBufferedSegmentPublisher,
    BlockingSegmentPublisher,
    BufferedSegmentPublisher,
    SegmentPublisher,
)
from streamproc.app.settings import PREFIX
from streamproc.core.commits import shard_of
from streamproc.demo.oracle import Kind
from streamproc.demo.stage import Worker
from streamproc.embedded import EmbeddedServer
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.nodes import SlotUnserved
from streamproc.stores.redis.shard import Shard

SHARDS = 4
SETTINGS = {
    "SHARDS": str(SHARDS),
    "REDIS_CLUSTER": "true",
    "ERASURE_KEY": "a key of more than sixteen characters",
    "FUTURE_TOLERANCE_SECONDS": "1",
    "FLUSH_VISIBILITY_SECONDS": "0.5",
}


class Ended(NamedTuple):
    code: int
    data: Any
    said: str


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with asyncio.Runner() as runner:
        context = valkey_cluster()
        yield runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
async def system(cluster: ValkeyCluster, mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    async with pods(cluster.url, mongod.url, **SETTINGS) as one:
        yield one


def segments(name: str, count: int) -> list[dict[str, Any]]:
    """Of ten sessions, which are in all shards. Each user is in a session."""
    now = datetime.now(UTC)
    return [
        {
            "segment_id": f"{name}-{number}",
            "channel_id": "kan-11",
            "session_id": f"session-{number % 10}",
            "user_id": f"user-{number % 10}",
            "received_at": now,
            "extraction_ms": 45.25,
            "dubbing_ms": 1100.5,
            "reinsertion_ms": 55,
            "source_language": "he",
            "target_language": "en",
        }
        for number in range(count)
    ]


def published(system: Pods, name: str, count: int) -> list[dict[str, Any]]:
    """Segments that the oracle has heard of."""
    found = segments(name, count)
    for one in found:
        system.oracle.record(Kind.GOOD, one)
    return found


async def run(system: Pods, *arguments: str) -> Ended:
    """A command, with --json."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamproc", *arguments, "--json"),
        env={**os.environ, **system.variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate()
    assert process.returncode is not None
    assert out, said.decode()
    return Ended(process.returncode, orjson.loads(out), said.decode())


async def add(system: Pods, shard: int, *fields: bytes | str) -> None:
    """An entry as it is, into any shard."""
    there = system.shards[shard]
    await there.client.execute_command("XADD", there.keys.stream, "*", *fields)


async def test_segments_of_all_publishers_are_stored_exactly_and_misplaced_ones_too(
    system: Pods, cluster: ValkeyCluster
) -> None:
    where: dict[str, Any] = {"prefix": system.settings.prefix, "shards": SHARDS, "cluster": True}
    await asyncio.gather(system.start(), system.start())
    async with SegmentPublisher(cluster.url, **where) as publisher:
        await publisher.publish_many(published(system, "asyncio", 200))
    with BlockingSegmentPublisher(cluster.url, **where) as blocking:
        await asyncio.to_thread(blocking.publish_many, published(system, "threads", 200))
    async with BufferedSegmentPublisher(cluster.url, replicas=1, **where) as buffered:
        for one in published(system, "buffered", 200):
            await buffered.put(one)
    with BlockingBufferedSegmentPublisher(cluster.url, replicas=1, **where) as buffered_blocking:
        for one in published(system, "buffered by a thread", 200):
            buffered_blocking.put(one)
    for one in published(system, "misplaced", 10):
        wrong = (shard_of(one["session_id"], SHARDS) + 1) % SHARDS
        await add(system, wrong, "data", orjson.dumps(one))

    await system.assert_exact()
    ledgers = [seen.ledger for seen in await system.surveys() if seen]
    assert [ledger.counted > 0 for ledger in ledgers] == [True] * SHARDS
    assert sum(ledger.forwarded for ledger in ledgers) == 10
    assert (await run(system, "audit")).code == 0


async def test_commands_and_web_tell_of_all_shards_and_a_person_is_erased_from_them(system: Pods) -> None:
    await system.start()
    async with SegmentPublisher(system._client, prefix=system.settings.prefix, shards=SHARDS) as publisher:
        await publisher.publish_many(published(system, "a", 30))
    for shard in range(SHARDS):
        await add(system, shard, "data", '{"segment_id": ""}')
    await system.assert_exact()

    assert (await run(system, "dead-letters", "list")).data["totals"] == {"malformed": SHARDS}
    status = await run(system, "status")
    assert status.data["verdict"] == "healthy", status
    with contextlib.closing(web_of(system)) as web:
        hours = (await web.get("/api/channels/kan-11/hourly?hours=1")).data
        assert sum(hour["segments"] for hour in hours["hours"]) == 30, hours
        recent = (await web.get("/api/channels/kan-11/segments?minutes=5")).data
        assert len(recent["segments"]) == 30
    erased = await run(system, "erase", "--user", "user-3")
    assert (erased.code, erased.data["redis_segments_deleted"], erased.data["timeseries_docs_deleted"]) == (0, 3, 1)
    assert (await run(system, "erase", "--user", "user-3", "--verify")).code == 0
    assert len(await system.documents()) == 9
    assert (await run(system, "audit")).code == 0


def web_of(system: Pods) -> Web:
    variables = {name.removeprefix(PREFIX): value for name, value in system.variables.items()}
    return Web({**variables, "WEB_HOST": "127.0.0.1"}).start()


async def test_a_node_that_is_no_master_any_more_neither_tells_the_time_nor_keeps_a_client(
    cluster: ValkeyCluster,
) -> None:
    async with connect(cluster.url, cluster=True) as client:
        shard = Shard(client)
        before_ms = await shard.now_ms()
        master = cluster.master_of(shard.keys.stream)
        cluster.replica_of(master).ask("CLUSTER", "FAILOVER")
        await cluster.another_serves(shard.keys.stream, master)
        await until(partial(_moved, shard))
        assert await shard.now_ms() >= before_ms
        connection: Any
        (connection,) = shard.client.connection_pool._available_connections
        assert connection.port == cluster.master_of(shard.keys.stream).server.port
    await cluster.become_whole()


async def _moved(shard: Shard) -> bool:
    """Whether the former master sends its client away. It does so once it knows."""
    try:
        await shard.now_ms()
    except SlotUnserved as error:
        return str(error).startswith("MOVED ")
    return False


@pytest.mark.timeout(240)
async def test_what_a_replica_has_confirmed_is_stored_exactly_whatever_befalls_the_masters() -> None:
    async with ClusterStage(seed=1) as stage:
        async with stage.load():
            await _kill_and_see(stage)
            for fault in (move_slot, freeze_master):
                await fault(stage)
                await stage.pause(0.5, 1)
        wrong = await stage.judge()
        assert not wrong, "\n".join(wrong)
        assert stage.oracle.segments > 500


async def _is_ready(worker: Worker) -> bool:
    return (await get(worker, "/readyz"))[0] == 200


async def _kill_and_see(stage: ClusterStage) -> None:
    """A worker is not ready while a master is dead, says which shard it is about, and that the others are well."""
    stream = stage.shards[0].keys.stream
    dead = stage.cluster.master_of(stream)
    hit = {shard.number for shard in stage.shards if stage.cluster.master_of(shard.keys.stream) is dead}
    said: list[str] = []

    async def told() -> bool:
        status, body = await get(stage.workers[0], "/readyz")
        said.append(body)
        named = {shard.number for shard in stage.shards if f", shard {shard.number}: " in body}
        return (status, named) == (503, hit)

    await until(partial(_is_ready, stage.workers[0]))
    dead.kill()
    await until(told, lambda: f"{hit}\n" + "\n".join(dict.fromkeys(said)))
    await stage.cluster.another_serves(stream, dead)
    await asyncio.to_thread(dead.restart)
    await stage.cluster.become_whole()
