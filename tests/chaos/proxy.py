"""A TCP proxy on loopback that can be told to misbehave.

It forwards bytes and understands none. What it does wrong is what networks do: it is slow, it cuts connections, it
lets a request through and loses the reply, it lets nothing through any more without saying so.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Self

_CHUNK = 65_536


class Proxy:
    """Listens on a port of its own and connects each client to `target_port`.

    Attributes:
        target_port: where new connections lead.
        refusing: new connections are closed at once.
        latency_s: from, to: every chunk waits so long, in each direction.
        dropped: replies dropped so far.
    """

    def __init__(self, target_port: int, rng: random.Random) -> None:
        self.target_port = target_port
        self.refusing = False
        self.latency_s = (0.0, 0.0)
        self.dropped = 0
        self.port = 0
        self._rng = rng
        self._links: set[_Link] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._orders: list[_Order] = []
        self._watched: tuple[bytes, Callable[[], None]] | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def cut(self, share: float = 1.0) -> int:
        """Cut each open connection with this probability. Returns how many were cut."""
        links = self._some(share)
        for link in links:
            link.cut()
        return len(links)

    def silence(self, share: float = 1.0) -> int:
        """Let nothing through open connections any more, and leave them open, as a router does that forgot them."""
        links = self._some(share)
        for link in links:
            link.silent = True
        return len(links)

    async def drop_reply(self, request: bytes) -> None:
        """Forward the next request that holds these bytes, drop its reply and cut the connection instead.

        Returns when that is done; cancelled before, it is not done any more.
        """
        order = _Order(request, asyncio.Event())
        self._orders.append(order)
        try:
            await order.done.wait()
        finally:
            self._orders.remove(order)

    def watch(self, request: bytes, then: Callable[[], None]) -> None:
        """Call once, when the next request that holds these bytes has been forwarded."""
        self._watched = (request, then)

    async def delay(self) -> None:
        if self.latency_s[1]:
            await asyncio.sleep(self._rng.uniform(*self.latency_s))

    def order_for(self, request: bytes) -> _Order | None:
        """The order to drop the reply to this request."""
        return next((order for order in self._orders if order.request in request), None)

    def forwarded(self, request: bytes) -> None:
        if self._watched and self._watched[0] in request:
            (_, then), self._watched = self._watched, None
            then()

    def _some(self, share: float) -> list[_Link]:
        return [link for link in self._links if share >= 1 or self._rng.random() < share]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until either side ends. Where the server is away, the client is told by the end."""
        try:
            if not self.refusing:
                link = _Link(self, (reader, writer), await asyncio.open_connection("127.0.0.1", self.target_port))
                self._links.add(link)
                try:
                    await link.carry()
                finally:
                    self._links.discard(link)
        except OSError:
            pass
        finally:
            await _end(writer)


class _Order(NamedTuple):
    """To drop the reply to a request that holds these bytes."""

    request: bytes
    done: asyncio.Event


class _Link:
    """One client's connection, and the one to the server that it goes on to."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._order: _Order | None = None
        self.silent = False

    async def carry(self) -> None:
        """Until either side ends, or a reply is dropped."""
        pumps = [asyncio.create_task(self._requests()), asyncio.create_task(self._replies())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut()
            for pump in pumps:
                pump.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await pump
            await _end(self._to_server)

    def cut(self) -> None:
        self._to_client.transport.abort()
        self._to_server.transport.abort()

    async def _requests(self) -> None:
        while request := await self._from_client.read(_CHUNK):
            await self._proxy.delay()
            if self.silent:
                continue
            if self._order is None or self._order.done.is_set():
                self._order = self._proxy.order_for(request)
            self._to_server.write(request)
            await self._to_server.drain()
            self._proxy.forwarded(request)

    async def _replies(self) -> None:
        while reply := await self._from_server.read(_CHUNK):
            if self._order and not self._order.done.is_set():
                self._order.done.set()
                self._proxy.dropped += 1
                return
            await self._proxy.delay()
            if self.silent:
                continue
            self._to_client.write(reply)
            await self._to_client.drain()


async def _end(writer: asyncio.StreamWriter) -> None:
    """Cut, and wait until that is done."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
