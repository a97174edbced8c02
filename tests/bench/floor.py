"""How fast a stream can be drained by a client that does nothing with it: what all speed is compared with.

python   redis-py reads a batch and acknowledges it, as the simplest consumer would
server   no client work at all: replies are not even parsed, only searched for ids by a regular expression. What
         the server itself gives away, to one connection, is what a client in C would get
"""

from __future__ import annotations

import re
import socket
import time
from typing import Any, Final
from urllib.parse import urlsplit

import hiredis

_COUNT: Final = 1000
_GROUP: Final = "floor"
_ID: Final = re.compile(rb"\r\n(\d+-\d+)\r\n")


async def python(redis: Any, stream: str) -> float:
    """Events a second that XREADGROUP and XACK drain from Python."""
    await redis.xgroup_create(stream, _GROUP, "0")
    drained, begun_s = 0, time.perf_counter()
    while reply := await redis.execute_command(
        "XREADGROUP", "GROUP", _GROUP, "one", "COUNT", _COUNT, "STREAMS", stream, ">"
    ):
        ids = [entry[0] for entry in reply[0][1]]
        drained += await redis.execute_command("XACK", stream, _GROUP, *ids)
    rate = drained / (time.perf_counter() - begun_s)
    await redis.xgroup_destroy(stream, _GROUP)
    return rate


async def server(redis: Any, url: str, stream: str) -> float:
    """Events a second that the server gives away to a client which only reads and acknowledges."""
    await redis.xgroup_create(stream, _GROUP, "0")
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379)) as connection:
        drained, begun_s = 0, time.perf_counter()
        while ids := _ID.findall(
            _replies(connection, "XREADGROUP", "GROUP", _GROUP, "one", "COUNT", _COUNT, "STREAMS", stream, ">")
        ):
            _replies(connection, "XACK", stream, _GROUP, *ids)
            drained += len(ids)
        rate = drained / (time.perf_counter() - begun_s)
    await redis.xgroup_destroy(stream, _GROUP)
    return rate


def _replies(connection: socket.socket, *command: Any) -> bytes:
    """Send a command and, so that the end can be told without parsing, a PING; take what comes up to its answer."""
    connection.sendall(_pack(command) + _pack(("PING",)))
    received = bytearray()
    while not received.endswith(b"+PONG\r\n"):
        received += connection.recv(1 << 20)
    return bytes(received)


def _pack(command: Any) -> bytes:
    packed: bytes = hiredis.pack_command(command)
    return packed
