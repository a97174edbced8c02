"""The process: its start and end, servers that go away, clients that do not wait, and what its log keeps to itself."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from pods import until

from streamproc.embedded import EmbeddedServer, start_valkey
from streamproc.web import application
from streamproc.web.problems import Problem

from .conftest import System
from .serving import TOKEN, Web
from .test_pages import samples

pytestmark = pytest.mark.asyncio(loop_scope="session")

MONGODB_AWAY = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200"
SEGMENTS = "/api/channels/kan-11/segments"
HOURLY = "/api/channels/kan-11/hourly"


@pytest.fixture
def own_redis() -> Iterator[EmbeddedServer]:
    """A server to freeze and to stop. It is let go on at the end."""
    with start_valkey() as server:
        yield server
        try:
            os.kill(server.pid, signal.SIGCONT)
        except ProcessLookupError:
            return


@pytest_asyncio.fixture(loop_scope="session")
async def frozen(another_web: Callable[..., Web], own_redis: EmbeddedServer) -> AsyncIterator[Web]:
    """A web process that was ready, and whose Redis then froze."""
    web = another_web(REDIS_URL=own_redis.url).start()
    assert (await web.get(SEGMENTS)).status == 200
    os.kill(own_redis.pid, signal.SIGSTOP)
    yield web


async def in_progress(web: Web) -> int:
    """How many requests are being answered, beside the one that asks."""
    return int((await samples(web))["streamproc_http_requests_in_progress", ()]) - 1


async def progress_is(web: Web, number: int) -> None:
    async def holds() -> bool:
        return await in_progress(web) == number

    await until(holds, lambda: web.log)


# Start and end


async def test_sigterm_ends_it_with_0_and_sigint_too(another_web: Callable[..., Web]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        web = another_web().start()
        assert (await web.get("/healthz")).status == 200
        assert await asyncio.to_thread(web.end, number) == 0
        assert "Traceback" not in web.log


async def test_sigterm_waits_for_the_answers_under_way(frozen: Web, own_redis: EmbeddedServer) -> None:
    asking = asyncio.create_task(frozen.get(SEGMENTS))
    await progress_is(frozen, 1)
    ending = asyncio.create_task(asyncio.to_thread(frozen.end))

    async def takes_no_more() -> bool:
        try:
            frozen.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    await until(takes_no_more, lambda: frozen.log)
    os.kill(own_redis.pid, signal.SIGCONT)
    assert (await asking).status == 200
    assert await ending == 0


async def test_a_port_that_is_taken_is_named_with_the_remedy(another_web: Callable[..., Web]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        web = another_web(WEB_HOST="127.0.0.1")
        web.launch(port=taken.getsockname()[1])
        assert web.process.wait(30) == 1
    assert "STREAMPROC_WEB_PORT to a free port" in web.log
    assert "Traceback" not in web.log


async def test_settings_that_differ_from_the_datas_end_it(another_web: Callable[..., Web]) -> None:
    web = another_web(WINDOW_SECONDS="7")
    web.launch()
    assert web.process.wait(30) == 1
    assert "this web process must not run: the data under" in web.log
    assert "Traceback" not in web.log


# Servers that are away


async def test_with_mongodb_away_answers_say_what_is_missing(another_web: Callable[..., Web]) -> None:
    web = another_web(MONGODB_URL=MONGODB_AWAY).start()
    assert [one["layer"] for one in (await web.get(HOURLY)).data["missing"]] == ["mongodb"]
    assert len((await web.get(f"{SEGMENTS}?minutes=1440")).data["segments"]) == 3
    reply = await web.get("/api/hours")
    assert reply.status == 503
    assert reply.error.startswith("mongodb: ")


async def test_with_redis_away_answers_say_what_is_missing(another_web: Callable[..., Web]) -> None:
    web = another_web(REDIS_URL="redis://127.0.0.1:1").start()
    answer = (await web.get(HOURLY)).data
    assert [one["layer"] for one in answer["missing"]] == ["redis"]
    assert sum(hour["segments"] for hour in answer["hours"]) == 3
    reply = await web.get(SEGMENTS)
    assert reply.status == 503
    assert reply.error.startswith("redis: ")


async def test_with_both_away_there_is_no_answer(another_web: Callable[..., Web]) -> None:
    web = another_web(REDIS_URL="redis://127.0.0.1:1", MONGODB_URL=MONGODB_AWAY).start()
    reply = await web.get(HOURLY)
    assert reply.status == 503
    assert "redis: " in reply.error
    assert "mongodb: " in reply.error


async def test_an_incomplete_table_is_none(another_web: Callable[..., Web]) -> None:
    reply = await another_web(MONGODB_URL=MONGODB_AWAY).start().get(f"{HOURLY}?format=csv")
    assert reply.status == 503
    assert reply.error.startswith("incomplete, and CSV cannot say so; JSON can. mongodb: ")


async def test_a_server_that_comes_back_is_used_again(
    another_web: Callable[..., Web], own_redis: EmbeddedServer
) -> None:
    web = another_web(REDIS_URL=own_redis.url).start()
    assert (await web.get(SEGMENTS)).status == 200
    os.kill(own_redis.pid, signal.SIGKILL)
    assert (await web.get(SEGMENTS)).status == 503
    own_redis.restart()
    assert (await web.get(SEGMENTS)).status == 200


async def test_a_question_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_LONGEST_S", 0.01)
    turn = asyncio.Semaphore(1)
    with pytest.raises(Problem, match="no answer within") as refused:
        await application._asked(asyncio.Event().wait(), turn)
    assert refused.value.status == 503
    assert not turn.locked()


# Clients that do not wait


async def test_whoever_leaves_is_not_worked_for(frozen: Web, own_redis: EmbeddedServer) -> None:
    before = _open_files(frozen)
    with ExitStack() as clients:
        for _ in range(40):
            client = clients.enter_context(frozen.connect())
            client.sendall(f"GET {SEGMENTS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await progress_is(frozen, 40)
    await progress_is(frozen, 0)
    route = "/api/channels/{channel_id}/segments"
    labels = (("method", "GET"), ("route", route), ("status", "aborted"))
    assert (await samples(frozen))["streamproc_http_request_duration_seconds_count", labels] == 40
    os.kill(own_redis.pid, signal.SIGCONT)

    async def as_before() -> bool:
        # Some connections to the servers may have been added; forty of clients would show.
        return _open_files(frozen) < before + 20

    await until(as_before, lambda: f"{_open_files(frozen)} open files, {before} before\n{frozen.log}")
    assert (await frozen.get(SEGMENTS)).status == 200
    assert "Traceback" not in frozen.log


async def test_whoever_says_half_a_sentence_holds_up_nobody(web: Web) -> None:
    with ExitStack() as clients:
        for _ in range(50):
            clients.enter_context(web.connect()).sendall(b"GET /api/channels HTT")
        assert (await web.get("/api/channels")).status == 200


async def test_whoever_reads_nothing_holds_up_nobody(web: Web) -> None:
    request = f"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    with ExitStack() as clients:
        for _ in range(20):
            client = clients.enter_context(web.connect())
            client.settimeout(0.1)
            try:
                for _ in range(500):
                    client.sendall(request)
            except TimeoutError:
                pass  # it takes no more requests from who reads no answers
        assert (await web.get("/api/channels")).status == 200
    await progress_is(web, 0)


def _open_files(web: Web) -> int:
    return len(list(Path(f"/proc/{web.process.pid}/fd").iterdir()))


# The log


async def test_the_log_has_a_line_for_each_request_and_no_id_in_it(another_web: Callable[..., Web]) -> None:
    web = another_web(API_TOKEN=TOKEN).start()
    await web.get("/api/users/secret-person/activity?days=3")
    await web.get("/api/users/secret-person/activity?tz=secret-zone")
    await web.get("/api/channels/secret-channel/hourly?secret-name=1")
    await web.get("/api/secret-path")
    await web.get("/api/users/secret-person", "PURGE")
    await web.get("/api/channels", Authorization="Bearer secret-token")
    with web.connect() as connection:
        connection.sendall(b"GET /api/users/secret-person HTTP/1.1\r\nsecret header\r\n\r\n")
        assert b"400" in connection.recv(1000)
    with web.connect() as connection:
        connection.sendall(b"GET /api/users/secret-" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n")
        assert b"400" in connection.recv(1000)
    assert await asyncio.to_thread(web.end) == 0
    lines = [line.partition("INFO")[2].split() for line in web.log.splitlines() if " ms" in line]
    assert [line[:3] for line in lines] == [
        ["GET", "/api/users/{user_id}/activity", "200"],
        ["GET", "/api/users/{user_id}/activity", "400"],
        ["GET", "/api/channels/{channel_id}/hourly", "400"],
        ["GET", "unmatched", "404"],
        ["other", "unmatched", "405"],
        ["GET", "/api/channels", "401"],
    ]
    assert "secret" not in web.log


async def test_probes_are_not_in_the_log(another_web: Callable[..., Web]) -> None:
    web = another_web().start()
    for path in ("/healthz", "/readyz", "/metrics", "/"):
        await web.get(path)
    assert await asyncio.to_thread(web.end) == 0
    assert [line.split(" INFO ")[1].split()[:2] for line in web.log.splitlines() if " ms" in line] == [["GET", "/"]]


async def test_a_fault_is_logged_once_under_the_id_that_the_answer_names(web: Web, system: System) -> None:
    # A receipt that nobody wrote: its fields are missing. It has a time of completion, so that workers pass it by.
    broken = {"_id": "secret-receipt", "completed_at": datetime.now(UTC)}
    await system.pods.database["erasures"].insert_one(broken)
    try:
        reply = await web.get("/api/erasures/secret-receipt")
    finally:
        await system.pods.database["erasures"].delete_one(broken)
    assert reply.status == 500
    assert reply.error == "a fault of the server; its log tells more under this request_id"
    assert web.log.count(reply.data["request_id"]) == 1
    where = "TypeError at stores/mongo/erasures.py:[0-9]+ .* < streamproc/web/erasures.py:[0-9]+ receipt"
    assert re.search(f"request {reply.data['request_id']}: GET /api/erasures/{{erasure_id}}: {where}", web.log)
    assert "secret-receipt" not in web.log
