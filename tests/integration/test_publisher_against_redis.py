"""What is published arrives, whatever happens to the connection or the server. Arriving twice is allowed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import pytest
import redis

from streamproc.core.commits import shard_of
from streamproc.demo.oracle import Kind, Oracle
from streamproc.demo.publishing import run
from streamproc.demo.simulation import Shares, Simulated, Simulation
from streamproc.embedded import EmbeddedServer, start_valkey
from streamproc.publisher import BlockingSegmentPublisher, PublishFailed, SegmentPublisher
from streamproc.publisher.encoding import CHUNK
from streamproc.stores.redis.connect import connect

Client = redis.Redis


def segment(number: int) -> dict[str, Any]:
    return {
        "segment_id": str(number),
        "channel_id": "kan-11",
        "session_id": f"s-{number % 7}",
        "user_id": "u-1",
        "received_at": datetime(2025, 3, 1, 10, tzinfo=UTC),
        "extraction_ms": 45,
        "dubbing_ms": 1100,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
    }


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client.from_url(redis_url) as client:
        yield client


def entries(client: Client, shard: int = 0) -> list[tuple[bytes, dict[bytes, bytes]]]:
    return cast(list[tuple[bytes, dict[bytes, bytes]]], client.xrange(f"dubbing:{{{shard}}}:segments"))


def arrived(client: Client, shard: int = 0) -> list[dict[str, Any]]:
    return [orjson.loads(fields[b"data"]) for _, fields in entries(client, shard)]


def numbers(segments: list[dict[str, Any]]) -> list[int]:
    return sorted(int(found["segment_id"]) for found in segments)


def segments_during(count: int, interruption: int, interrupt: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """Segments; at number `interruption`, something happens."""
    for number in range(count):
        if number == interruption:
            interrupt()
        yield segment(number)


async def test_segments_arrive_in_the_stream_of_their_shard(redis_url: str, client: Client) -> None:
    async with SegmentPublisher(redis_url, shards=3) as publisher:
        entry_ids = await publisher.publish_many(segment(number) for number in range(100))
    found = [arrived(client, shard) for shard in range(3)]
    assert len(entry_ids) == 100
    assert numbers([event for shard in found for event in shard]) == list(range(100))
    for shard in range(3):
        assert {shard_of(event["session_id"], 3) for event in found[shard]} == {shard}


async def test_a_killed_connection_loses_nothing(redis_url: str, client: Client) -> None:
    def kill() -> None:
        assert client.client_kill_filter(_type="normal", skipme=True) == 1

    async with SegmentPublisher(redis_url) as publisher:
        # The first chunk is confirmed when the second is being made.
        entry_ids = await publisher.publish_many(segments_during(3 * CHUNK, CHUNK + 10, kill))
    assert len(set(entry_ids)) == 3 * CHUNK
    assert numbers(arrived(client)) == list(range(3 * CHUNK))


def test_a_killed_connection_loses_nothing_for_threads(redis_url: str, client: Client) -> None:
    def kill() -> None:
        assert client.client_kill_filter(_type="normal", skipme=True) == 1

    with BlockingSegmentPublisher(redis_url) as publisher:
        entry_ids = publisher.publish_many(segments_during(3 * CHUNK, CHUNK + 10, kill))
    assert len(set(entry_ids)) == 3 * CHUNK
    assert numbers(arrived(client)) == list(range(3 * CHUNK))


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - it is the server that has to come to it
        await asyncio.sleep(0.01)


class ReplyLosingProxy:
    """Stands before a server. The first reply to an XADD is lost, and its connection with it; after that, none is."""

    def __init__(self, port: int) -> None:
        self._to_port = port
        self.lost = 0

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self._to_port)
        while request := await reader.read(65536):
            to_redis.write(request)
            reply = await from_redis.read(65536)
            if b"XADD" in request and not self.lost:
                self.lost += 1
                break
            writer.write(reply)
        to_redis.close()
        writer.close()


async def test_a_lost_reply_repeats_the_segment_and_loses_nothing(redis_server: EmbeddedServer, client: Client) -> None:
    proxy = ReplyLosingProxy(redis_server.port)
    async with proxy as url, SegmentPublisher(url) as publisher:
        entry_id = await publisher.publish(segment(5))
    assert proxy.lost == 1
    assert numbers(arrived(client)) == [5, 5]
    assert entries(client)[-1][0].decode() == entry_id


async def test_a_server_that_comes_back_gets_everything() -> None:
    with start_valkey(persistent=True) as server:
        async with SegmentPublisher(server.url) as publisher:
            await publisher.publish(segment(0))
            os.kill(server.pid, signal.SIGKILL)
            waiting = asyncio.create_task(publisher.publish_many([segment(1), segment(2)]))
            await asyncio.to_thread(server.restart)
            await waiting
        with Client.from_url(server.url) as client:
            assert numbers(arrived(client)) == [0, 1, 2]


async def test_a_full_redis_is_waited_for() -> None:
    with start_valkey(extra_args=["--maxmemory", "1"]) as server, Client.from_url(server.url) as client:
        async with SegmentPublisher(server.url) as publisher:
            waiting = asyncio.create_task(publisher.publish(segment(1)))
            await until(lambda: "errorstat_OOM" in client.info("errorstats"))
            client.config_set("maxmemory", 0)
            await waiting
        assert numbers(arrived(client)) == [1]


async def test_where_nobody_listens_publishing_fails_with_what_to_do() -> None:
    nobody = "redis://someone:secret@127.0.0.1:1/0"
    with pytest.raises(PublishFailed) as failed:
        async with SegmentPublisher(nobody, retry_for_s=0.3) as publisher:
            await publisher.publish_many([segment(1), segment(2)])
    with pytest.raises(PublishFailed) as failed_too, BlockingSegmentPublisher(nobody, retry_for_s=0.3) as blocking:
        blocking.publish_many([segment(1), segment(2)])
    for message in (str(failed.value), str(failed_too.value)):
        assert message.startswith("2 of 2 segments not confirmed by redis://127.0.0.1:1/0; last error: ConnectionError")
        assert message.endswith("publish them again, repeating is harmless, a segment counts once.")
        assert "secret" not in message


def test_a_wrong_password_is_told_at_once() -> None:
    with start_valkey() as server, Client.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", ">right", "~*", "+@all")
        url = server.url.replace("//", "//worker:wrong@")
        # Were it retried, the test would run into its time limit.
        with BlockingSegmentPublisher(url, retry_for_s=1e9) as publisher, pytest.raises(PublishFailed) as failed:
            publisher.publish(segment(1))
    assert "AuthenticationError" in str(failed.value)
    assert "wrong@" not in str(failed.value)


async def test_a_ready_client_stays_its_owners_to_close(redis_url: str, client: Client) -> None:
    # A closed client would connect anew, under another id.
    blocking_id = client.client_id()
    with BlockingSegmentPublisher(client) as blocking:
        blocking.publish(segment(1))
    assert client.client_id() == blocking_id
    concurrent = connect(redis_url)
    concurrent_id = await concurrent.client_id()
    async with SegmentPublisher(concurrent) as publisher:
        await publisher.publish(segment(2))
    assert await concurrent.client_id() == concurrent_id
    await concurrent.aclose()


def test_threads_share_one_publisher(redis_url: str, client: Client) -> None:
    with BlockingSegmentPublisher(redis_url) as publisher, ThreadPoolExecutor(8) as threads:
        entry_ids = list(threads.map(lambda number: publisher.publish(segment(number)), range(400)))
    assert len(set(entry_ids)) == 400
    assert numbers(arrived(client)) == list(range(400))


async def test_both_forms_publish_to_a_cluster() -> None:
    with start_valkey(extra_args=["--cluster-enabled", "yes"]) as server, Client.from_url(server.url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        async with SegmentPublisher(server.url, shards=3, cluster=True) as publisher:
            await publisher.publish_many(segment(number) for number in range(20))
        with BlockingSegmentPublisher(server.url, shards=3, cluster=True) as blocking:
            blocking.publish_many(segment(number) for number in range(20, 40))
        assert numbers([event for shard in range(3) for event in arrived(client, shard)]) == list(range(40))


async def test_a_simulation_is_published_as_its_oracle_records_it(redis_url: str, client: Client) -> None:
    truth, enough = Oracle(5), asyncio.Event()

    def on_published(batch: Sequence[Simulated]) -> None:
        for entry in batch:
            truth.record(entry.kind, entry.event)
        if truth.published.total() > 300:
            enough.set()

    shares = Shares(malformed=0.1, flat_fields=0.1, unknown_fields=0.1)
    concurrent = connect(redis_url)
    await run(Simulation(1, shares=shares), concurrent, rate=2000, until=enough, on_published=on_published, shards=2)
    await concurrent.aclose()
    found = entries(client, 0) + entries(client, 1)
    assert len(found) == truth.published.total()
    assert truth.published[Kind.MALFORMED] > 0
    assert any(b"data" not in fields for _, fields in found)
