"""Clients for Redis 7.0 or newer, Valkey 7.2 or newer, single or cluster."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import hiredis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

AnyRedis = Redis | RedisCluster

_MINIMUM: Final = {"redis": (7, 0), "valkey": (7, 2)}
_CONNECT_TIMEOUT_S: Final = 2.0
_REPLY_TIMEOUT_S: Final = 10.0


class _Connection(Connection):
    """Packs a command in C, which redis-py does for its blocking client alone: a commit names a thousand keys."""

    def pack_command(self, *args: Any) -> list[bytes]:
        if b" " in args[0] if isinstance(args[0], bytes) else " " in args[0]:
            return super().pack_command(*args)  # a name of two words is two arguments
        return [hiredis.pack_command(args)]


class ServerTooOld(RuntimeError):
    """The server lacks commands that exactness rests on: upgrade it."""


def connect(url: str, *, cluster: bool = False, reply_timeout_s: float = _REPLY_TIMEOUT_S) -> AnyRedis:
    """A client whose replies are plain bytes and lists, and which never repeats a command by itself.

    A hidden retry of XREADGROUP would throw away a batch that was delivered; everything else that is retried here
    is retried in sight, by the role that knows what it means. RESP2 keeps the shape of replies the same on all
    servers.
    """
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": reply_timeout_s,
        "socket_connect_timeout": _CONNECT_TIMEOUT_S,
        "health_check_interval": 0,
    }
    client: AnyRedis
    if cluster:
        client = RedisCluster.from_url(url, **options)
    else:
        client = Redis.from_url(url, retry=Retry(NoBackoff(), 0), connection_class=_Connection, **options)
    for command in ("XREADGROUP", "XRANGE", "HGETALL", "XINFO STREAM"):
        client.set_response_callback(command, _as_it_came)
    return client


async def require_supported(client: AnyRedis) -> str:
    """Check the server's version. Returns a description such as ``valkey 9.1.2``.

    Raises:
        ServerTooOld: naming the version found and the one needed.
        redis.exceptions.RedisError: the server is away or refuses us.
    """
    info = await client.info("server")
    if "valkey_version" in info:
        kind, version = "valkey", str(info["valkey_version"])
    else:
        kind, version = "redis", str(info["redis_version"])
    found = tuple(int(part) for part in version.split(".")[:2])
    needed = _MINIMUM[kind]
    if found < needed:
        raise ServerTooOld(f"{kind} {version} is too old: streamproc needs {kind} {needed[0]}.{needed[1]} or newer")
    return f"{kind} {version}"


def describe(url: str) -> str:
    """The address for messages: host, port and database, never user or password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _as_it_came(response: Any, **_kwargs: Any) -> Any:
    return response
