"""The proxy does what it is told, and otherwise nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import pytest

from .proxy import Proxy

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo(NamedTuple):
    """A proxy before a server that answers every line with itself, and notes it."""

    proxy: Proxy
    heard: list[bytes]

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            heard.append(line)
            writer.write(line)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with Proxy(server.sockets[0].getsockname()[1], random.Random(1)) as proxy:
        yield Echo(proxy, heard)
    server.close()


async def ask(connection: Connection, line: bytes) -> bytes:
    """The answer; empty where the connection was cut instead."""
    reader, writer = connection
    writer.write(line)
    try:
        return await reader.readline()
    except ConnectionResetError:
        return b""


async def test_what_nothing_was_ordered_for_comes_through(echo: Echo) -> None:
    async with echo.connect() as connection:
        assert [await ask(connection, line) for line in (b"one\n", b"two\n")] == [b"one\n", b"two\n"]


async def test_a_dropped_reply_is_that_of_a_request_which_arrived(echo: Echo) -> None:
    async with echo.connect() as connection:
        order = asyncio.create_task(echo.proxy.drop_reply(b"two"))
        assert await ask(connection, b"one\n") == b"one\n"
        assert await ask(connection, b"two\n") == b""
        await order
    assert (echo.heard, echo.proxy.dropped) == ([b"one\n", b"two\n"], 1)
    async with echo.connect() as again:
        assert await ask(again, b"two\n") == b"two\n"


async def test_an_order_that_was_cancelled_drops_nothing(echo: Echo) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(echo.proxy.drop_reply(b"one"), 0.01)
    async with echo.connect() as connection:
        assert await ask(connection, b"one\n") == b"one\n"


async def test_a_cut_connection_ends_and_the_next_one_works(echo: Echo) -> None:
    async with echo.connect() as connection:
        await ask(connection, b"one\n")
        assert echo.proxy.cut() == 1
        assert await ask(connection, b"two\n") == b""
    async with echo.connect() as again:
        assert await ask(again, b"three\n") == b"three\n"


async def test_a_refusing_proxy_ends_new_connections(echo: Echo) -> None:
    echo.proxy.refusing = True
    async with echo.connect() as connection:
        assert await ask(connection, b"one\n") == b""
    assert echo.heard == []


async def test_a_silent_connection_stays_open_and_says_nothing(echo: Echo) -> None:
    async with echo.connect() as connection:
        await ask(connection, b"one\n")
        assert echo.proxy.silence() == 1
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(connection, b"two\n"), 0.1)
        assert not connection[0].at_eof()
    assert echo.heard == [b"one\n"]


async def test_who_watches_is_told_once(echo: Echo) -> None:
    told: list[int] = []
    echo.proxy.watch(b"two", lambda: told.append(len(echo.heard)))
    async with echo.connect() as connection:
        for line in (b"one\n", b"two\n", b"two\n"):
            await ask(connection, line)
    assert len(told) == 1
