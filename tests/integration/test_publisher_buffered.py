"""A buffered publisher on a Redis that dies, refuses and comes back: what was taken arrives, or is given back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Self, cast

import orjson
import pytest
import redis
from chaos.publisher_hour import Course, run

from streamproc.core.commits import shard_of
from streamproc.embedded import EmbeddedServer, start_valkey
from streamproc.publisher import (
    BlockingBufferedSegmentPublisher,
    BufferedSegmentPublisher,
    BufferFull,
    InvalidEvent,
    PublisherMetrics,
    PublishFailed,
)
from streamproc.publisher.failures import TooFewReplicas

Client = redis.Redis
LONG_S = 60.0
STREAM = "dubbing:{0}:segments"


class WithThreads:
    """The form for threads behind the words of the form for asyncio: each call in a thread, as its users make it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.blocking = BlockingBufferedSegmentPublisher(*arguments, **options)

    @property
    def waiting(self) -> int:
        return self.blocking.waiting

    @property
    def unconfirmed(self) -> list[dict[str, Any]]:
        return self.blocking.unconfirmed

    async def put(self, event: Any) -> None:
        await asyncio.to_thread(self.blocking.put, event)

    async def flush(self, timeout_s: float) -> None:
        await asyncio.to_thread(self.blocking.flush, timeout_s)

    async def close(self) -> None:
        await asyncio.to_thread(self.blocking.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


Form = type[BufferedSegmentPublisher] | type[WithThreads]
both_forms = pytest.mark.parametrize("form", [BufferedSegmentPublisher, WithThreads], ids=["asyncio", "threads"])


def segment(number: int, session: int = 1) -> dict[str, Any]:
    return {
        "segment_id": str(number),
        "channel_id": "kan-11",
        "session_id": f"s-{session}",
        "user_id": "u-1",
        "received_at": datetime(2025, 3, 1, 10, tzinfo=UTC),
        "extraction_ms": 45,
        "dubbing_ms": 1100,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
    }


@pytest.fixture(scope="module")
def server_that_dies() -> Iterator[EmbeddedServer]:
    with start_valkey(persistent=True) as server:
        yield server


@pytest.fixture
def server(server_that_dies: EmbeddedServer) -> EmbeddedServer:
    """One of this file's own, empty."""
    with Client.from_url(server_that_dies.url) as client:
        client.flushall()
    return server_that_dies


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[Client]:
    with Client.from_url(server.url) as client:
        yield client


def kill(server: EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)


async def restart(server: EmbeddedServer) -> None:
    await asyncio.to_thread(server.restart)


async def until(holds: Callable[[], Any]) -> None:
    while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - it is the server that has to come to it
        await asyncio.sleep(0.01)


def arrived(client: Client, shard: int = 0) -> list[dict[str, Any]]:
    """The events of a stream, each once, in the order of their first arrival."""
    entries = cast(list[tuple[bytes, dict[bytes, bytes]]], client.xrange(f"dubbing:{{{shard}}}:segments"))
    events = [orjson.loads(fields[b"data"]) for _, fields in entries]
    return list({(event["session_id"], event["segment_id"]): event for event in reversed(events)}.values())[::-1]


def numbers(client: Client) -> list[int]:
    return [int(event["segment_id"]) for event in arrived(client)]


async def test_two_restarts_lose_nothing_and_hold_up_no_put() -> None:
    course = Course(seconds=9, kills=2, away_s=1)
    for row in await run(course, lambda _: None):
        assert row.put == 900
        assert (row.lost, row.out_of_order, row.waits) == (0, 0, 0)
        assert row.most_waiting > 50  # it was away indeed


@both_forms
async def test_what_is_put_while_redis_is_away_is_taken_and_arrives_in_order(
    form: Form, server: EmbeddedServer, client: Client
) -> None:
    async with form(server.url, close_within_s=LONG_S) as publisher:
        await publisher.put(segment(0))
        kill(server)
        for number in range(1, 700):
            await publisher.put(segment(number))
        assert publisher.waiting >= 699
        await restart(server)
        await publisher.flush(LONG_S)
        assert publisher.waiting == 0
    assert numbers(client) == list(range(700))


@both_forms
async def test_each_session_arrives_in_order_in_the_stream_of_its_shard(
    form: Form, server: EmbeddedServer, client: Client
) -> None:
    async with form(server.url, shards=3) as publisher:
        for number in range(300):
            await publisher.put(segment(number, session=number % 10))
    events = [arrived(client, shard) for shard in range(3)]
    for shard, found in enumerate(events):
        assert {shard_of(event["session_id"], 3) for event in found} == {shard}
        assert [int(event["segment_id"]) for event in found] == sorted(int(event["segment_id"]) for event in found)
    assert len(list(chain(*events))) == 300


@both_forms
async def test_a_full_buffer_raises_after_the_time_chosen_and_the_segment_can_be_put_again(
    form: Form, server: EmbeddedServer, client: Client
) -> None:
    async with form(server.url, buffer=10, wait_up_to_s=0.05, close_within_s=LONG_S) as publisher:
        await publisher.put(segment(0))
        await publisher.flush(LONG_S)
        kill(server)
        for number in range(1, 11):
            await publisher.put(segment(number))
        with pytest.raises(BufferFull, match="10 segments wait for redis://127") as full:
            await publisher.put(segment(11))
        assert full.value.waiting == 10
        await restart(server)
        await publisher.flush(LONG_S)
        await publisher.put(segment(11))
    assert numbers(client) == list(range(12))


@both_forms
async def test_a_put_that_waits_gets_room_when_redis_is_back(
    form: Form, server: EmbeddedServer, client: Client
) -> None:
    waits: list[float] = []

    class Waits(PublisherMetrics):
        def waited_s(self, seconds: float) -> None:
            waits.append(seconds)

    async with form(server.url, buffer=2, wait_up_to_s=LONG_S, metrics=Waits()) as publisher:
        kill(server)
        for number in range(2):
            await publisher.put(segment(number))
        waiting = asyncio.create_task(publisher.put(segment(2)))
        await restart(server)
        await waiting
        await publisher.flush(LONG_S)
    assert numbers(client) == [0, 1, 2]
    assert len(waits) == 1


@both_forms
async def test_a_flush_in_vain_gives_the_events_and_they_are_sent_all_the_same(
    form: Form, server: EmbeddedServer, client: Client
) -> None:
    async with form(server.url, close_within_s=LONG_S) as publisher:
        kill(server)
        await publisher.put(segment(1))
        await publisher.put(segment(2))
        with pytest.raises(PublishFailed, match="They are kept, and sent again") as failed:
            await publisher.flush(0.1)
        assert [event["segment_id"] for event in failed.value.unconfirmed] == ["1", "2"]
        await restart(server)
    assert numbers(client) == [1, 2]


@both_forms
async def test_a_close_in_vain_gives_the_events_back_and_closes(
    form: Form, server: EmbeddedServer, client: Client
) -> None:
    publisher = form(server.url, close_within_s=0.1)
    kill(server)
    await publisher.put(segment(1))
    with pytest.raises(PublishFailed, match="publish them again, repeating is harmless") as failed:
        await publisher.close()
    await publisher.close()
    with pytest.raises(RuntimeError, match="closed"):
        await publisher.put(segment(2))
    await restart(server)
    assert publisher.unconfirmed == failed.value.unconfirmed
    async with form(server.url) as another:
        for event in failed.value.unconfirmed:
            await another.put(event)
    assert numbers(client) == [1]


@both_forms
async def test_a_put_that_waits_learns_of_the_close(form: Form, server: EmbeddedServer) -> None:
    publisher = form(server.url, buffer=1, wait_up_to_s=LONG_S, close_within_s=0.3)
    kill(server)
    await publisher.put(segment(1))
    waiting = asyncio.create_task(publisher.put(segment(2)))
    await asyncio.sleep(0.1)
    with pytest.raises(PublishFailed):
        await publisher.close()
    with pytest.raises(RuntimeError, match="closed: the segment was not taken"):
        await waiting
    await restart(server)


@both_forms
async def test_an_invalid_event_is_refused_by_put(form: Form, server: EmbeddedServer, client: Client) -> None:
    async with form(server.url) as publisher:
        with pytest.raises(InvalidEvent, match="user_id"):
            await publisher.put({**segment(1), "user_id": ""})
    assert numbers(client) == []


@both_forms
async def test_closing_an_unused_publisher_does_nothing(form: Form) -> None:
    async with form("redis://127.0.0.1:1") as publisher:
        await publisher.flush(0)
        await publisher.close()


def no_memory(client: Client) -> None:
    client.config_set("maxmemory", 1)


def memory(client: Client) -> None:
    client.config_set("maxmemory", 0)


def no_replicas(client: Client) -> None:
    client.config_set("min-replicas-to-write", 1)


def no_replicas_needed(client: Client) -> None:
    client.config_set("min-replicas-to-write", 0)


def become_replica(client: Client) -> None:
    client.execute_command("REPLICAOF", "127.0.0.1", 1)


def cut_off_replica(client: Client) -> None:
    become_replica(client)
    client.config_set("replica-serve-stale-data", "no")


def become_primary(client: Client) -> None:
    client.execute_command("REPLICAOF", "NO", "ONE")


def disk_full(client: Client) -> None:
    """Nothing can be renamed to the name of a directory that is not empty."""
    directory = Path(cast(dict[str, str], client.config_get("dir"))["dir"])
    (directory / "dump.rdb" / "in the way").mkdir(parents=True)
    client.config_set("save", "3600 1000000")
    client.bgsave(schedule=False)
    while client.info("persistence")["rdb_last_bgsave_status"] == "ok":
        time.sleep(0.01)


def disk_free(client: Client) -> None:
    client.config_set("stop-writes-on-bgsave-error", "no")


@both_forms
@pytest.mark.parametrize(
    ("begin", "end", "cause"),
    [
        (no_memory, memory, "OutOfMemoryError: command not allowed when used memory > 'maxmemory'"),
        (no_replicas, no_replicas_needed, "NOREPLICAS"),
        (become_replica, become_primary, "ReadOnlyError"),
        (cut_off_replica, become_primary, "MasterDownError|ReadOnlyError"),
        (disk_full, disk_free, "MISCONF"),
    ],
    ids=lambda given: given.__name__ if callable(given) else "",
)
async def test_trouble_of_the_server_is_waited_out_and_named_meanwhile(
    form: Form, begin: Callable[[Client], None], end: Callable[[Client], None], cause: str
) -> None:
    with start_valkey() as own, Client.from_url(own.url) as client:
        async with form(own.url, close_within_s=LONG_S) as publisher:
            await asyncio.to_thread(begin, client)
            await publisher.put(segment(1))
            await publisher.put(segment(2))
            with pytest.raises(PublishFailed, match=f"last error: .*({cause})"):
                await publisher.flush(0.5)
            await publisher.put(segment(3))
            await asyncio.to_thread(end, client)
        assert numbers(client) == [1, 2, 3]


@both_forms
async def test_a_wrong_password_is_told_by_the_next_calls_and_once_mended_all_arrives(form: Form) -> None:
    with start_valkey() as own, Client.from_url(own.url) as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", ">right", "~*", "+@all")
        publisher = form(own.url.replace("//", "//worker:wrong@"), close_within_s=LONG_S)
        await publisher.put(segment(1))
        with pytest.raises(PublishFailed, match="waiting cannot help; last error: AuthenticationError") as failed:
            await publisher.flush(LONG_S)  # at once, or the test would run into its time limit
        assert "wrong@" not in str(failed.value)
        with pytest.raises(PublishFailed, match="this segment was not taken"):
            await publisher.put(segment(2))
        client.execute_command("ACL", "SETUSER", "worker", ">wrong")
        await until(lambda: publisher.waiting == 0)
        await publisher.put(segment(2))
        await publisher.close()
        assert numbers(client) == [1, 2]


@both_forms
async def test_a_key_of_another_type_is_told_by_close_with_the_events(
    form: Form, server: EmbeddedServer, client: Client
) -> None:
    client.set(STREAM, "not a stream")
    publisher = form(server.url, close_within_s=LONG_S)
    await publisher.put(segment(1))
    with pytest.raises(PublishFailed, match="WRONGTYPE") as failed:
        await publisher.close()
    assert [event["segment_id"] for event in failed.value.unconfirmed] == ["1"]


@both_forms
async def test_a_segment_is_confirmed_when_enough_replicas_have_it(form: Form) -> None:
    at_once = ["--repl-diskless-sync-delay", "0"]
    with start_valkey(extra_args=at_once) as primary, start_valkey() as replica:
        clients = Client.from_url(primary.url), Client.from_url(replica.url)
        with clients[0] as client, clients[1] as of_replica:
            of_replica.execute_command("REPLICAOF", "127.0.0.1", primary.port)
            await until(lambda: of_replica.info("replication")["master_link_status"] == "up")
            async with form(primary.url, replicas=1, replica_timeout_ms=50, close_within_s=LONG_S) as publisher:
                await publisher.put(segment(0))
                await publisher.flush(LONG_S)
                assert numbers(of_replica) == [0]
                os.kill(replica.pid, signal.SIGSTOP)
                try:
                    for number in range(1, 100):
                        await publisher.put(segment(number))
                    with pytest.raises(PublishFailed, match="0 of 1 replicas confirmed within 50 ms") as failed:
                        await publisher.flush(0.5)
                finally:
                    os.kill(replica.pid, signal.SIGCONT)
                assert isinstance(failed.value.__cause__, TooFewReplicas)
                assert len(failed.value.unconfirmed) == 99
                await publisher.flush(LONG_S)
                assert numbers(of_replica) == numbers(client) == list(range(100))


@both_forms
async def test_both_forms_publish_to_a_cluster_while_a_slot_moves(form: Form) -> None:
    options = ["--cluster-enabled", "yes"]
    with (
        start_valkey(extra_args=options) as one,
        start_valkey(extra_args=options) as two,
        Client.from_url(one.url) as first,
        Client.from_url(two.url) as second,
    ):
        await form_cluster(first, second, two.port)
        async with form(one.url, shards=3, cluster=True, close_within_s=LONG_S) as publisher:
            for number in range(100):
                await publisher.put(segment(number, session=number % 10))
            await publisher.flush(LONG_S)
            move_slot(first, second, two.port, STREAM)
            for number in range(100, 200):
                await publisher.put(segment(number, session=number % 10))
            await publisher.flush(LONG_S)
        found = [*arrived(second, 0), *arrived(first, 1), *arrived(first, 2)]
        assert sorted(int(event["segment_id"]) for event in found) == list(range(200))


async def form_cluster(first: Client, second: Client, port: int) -> None:
    first.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    first.execute_command("CLUSTER", "MEET", "127.0.0.1", port)
    for client in (first, second):
        await until(partial(has_formed, client))


def has_formed(client: Client) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    return b"cluster_state:ok" in info and len(client.execute_command("CLUSTER", "SHARDS")) == 2


def move_slot(first: Client, second: Client, port: int, key: str) -> None:
    slot, node = first.execute_command("CLUSTER", "KEYSLOT", key), second.execute_command("CLUSTER", "MYID")
    second.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", first.execute_command("CLUSTER", "MYID"))
    first.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", node)
    first.execute_command("MIGRATE", "127.0.0.1", port, key, 0, 5000)
    for client in (second, first):
        client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", node)


@both_forms
async def test_a_publisher_whose_metrics_fail_says_so_and_keeps_the_segments(
    form: Form, server: EmbeddedServer
) -> None:
    class Broken(PublisherMetrics):
        def confirmed(self, segments: int) -> None:
            raise ZeroDivisionError("in a metric")

    publisher = form(server.url, metrics=Broken(), close_within_s=LONG_S)
    await publisher.put(segment(1))
    await until(lambda: "ZeroDivisionError" in outcome_of(publisher))
    with pytest.raises(PublishFailed, match="ZeroDivisionError: in a metric"):
        await publisher.put(segment(2))
    await publisher.close()  # the one that was taken is confirmed


def outcome_of(publisher: Any) -> str:
    buffer = getattr(publisher, "blocking", publisher)._buffer
    return repr(buffer.refusal)


def test_threads_share_one_publisher_and_each_keeps_its_order(server: EmbeddedServer, client: Client) -> None:
    with BlockingBufferedSegmentPublisher(server.url) as publisher, ThreadPoolExecutor(8) as threads:

        def publish(session: int) -> None:
            for number in range(50):
                publisher.put(segment(number, session))

        list(threads.map(publish, range(8)))
    found = arrived(client)
    assert len(found) == 400
    for session in range(8):
        assert [int(event["segment_id"]) for event in found if event["session_id"] == f"s-{session}"] == list(range(50))


async def test_a_ready_client_stays_its_owners_to_close(server: EmbeddedServer, client: Client) -> None:
    client_id = client.client_id()
    with BlockingBufferedSegmentPublisher(client) as publisher:
        publisher.put(segment(1))
    assert client.client_id() == client_id


def test_a_loop_that_ends_without_close_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async def forgetful() -> BufferedSegmentPublisher:
        publisher = BufferedSegmentPublisher("redis://127.0.0.1:1")
        await publisher.put(segment(1))
        await asyncio.sleep(0)
        return publisher

    publisher = asyncio.run(forgetful())
    assert "1 segments are not confirmed, and are not sent any more: its event loop ended before close()" in caplog.text
    assert [event["segment_id"] for event in publisher.unconfirmed] == ["1"]


async def test_a_close_that_is_cancelled_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    publisher = BufferedSegmentPublisher("redis://127.0.0.1:1", close_within_s=LONG_S)
    await publisher.put(segment(1))
    closing = asyncio.create_task(publisher.close())
    await asyncio.sleep(0.05)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert "1 segments are not confirmed, and are not sent any more: close() was cancelled" in caplog.text
    assert [event["segment_id"] for event in publisher.unconfirmed] == ["1"]


FORGETFUL = """
import sys
from streamproc import BlockingBufferedSegmentPublisher
publisher = BlockingBufferedSegmentPublisher(sys.argv[1], close_within_s=float(sys.argv[2]))
for number in range(600):
    publisher.put(
        segment_id=str(number), channel_id="kan-11", session_id="s-1", user_id="u-1",
        received_at="2025-03-01T10:00:00Z", extraction_ms=45, dubbing_ms=1100, reinsertion_ms=55,
        source_language="he", target_language="en",
    )
"""

FORKED = """
import os, sys
from streamproc import BlockingBufferedSegmentPublisher
publisher = BlockingBufferedSegmentPublisher("redis://127.0.0.1:1", close_within_s=0)
segment = dict(
    segment_id="1", channel_id="kan-11", session_id="s-1", user_id="u-1", received_at="2025-03-01T10:00:00Z",
    extraction_ms=45, dubbing_ms=1100, reinsertion_ms=55, source_language="he", target_language="en",
)
publisher.put(segment)
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    publisher.put(segment)
except RuntimeError as error:
    print(error, flush=True)
publisher.close()
"""


def run_program(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONG_S)


def test_a_program_that_ends_without_close_sends_what_it_put(server: EmbeddedServer, client: Client) -> None:
    ended = run_program(FORGETFUL, server.url, str(LONG_S))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert numbers(client) == list(range(600))


def test_a_program_that_ends_without_close_tells_what_was_not_confirmed() -> None:
    ended = run_program(FORGETFUL, "redis://127.0.0.1:1", "0.1")
    assert "PublishFailed: 600 segments not confirmed by redis://127.0.0.1:1 within 0.1 s" in ended.stderr


def test_a_publisher_does_not_survive_a_fork_and_says_so() -> None:
    ended = run_program(FORKED)
    assert "in use before the process was forked: make one in each process" in ended.stdout
    assert ended.stderr.count("Traceback") == 1  # the parent's, whose segment was not confirmed
