"""Clients for Redis 7.0 or newer, Valkey 7.2 or newer, single or cluster."""

from __future__ import annotations

from typing import Any, Final, overload
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from streamproc.stores.redis.cluster import Cluster
from streamproc.stores.redis.packing import packing

AnyRedis = Redis | Cluster

_MINIMUM: Final = {"redis": (7, 0), "valkey": (7, 2)}
_FORM: Final = "redis://[user:password@]host[:port][/database][?options], or rediss:// for TLS"
_CONNECT_TIMEOUT_S: Final = 2.0
_REPLY_TIMEOUT_S: Final = 10.0


class ServerTooOld(RuntimeError):
    """The server lacks commands that exactness rests on: upgrade it."""


class EvictsKeys(RedisError):
    """The server drops keys when its memory is full: segments would be lost, and nobody would know."""


@overload
def connect(url: str, *, reply_timeout_s: float = ...) -> Redis: ...
@overload
def connect(url: str, *, cluster: bool, reply_timeout_s: float = ...) -> AnyRedis: ...
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
        "retry": Retry(NoBackoff(), 0),
    }
    if cluster:
        return Cluster(url, prepare=_with_plain_replies, **options)
    # Not Redis.from_url: there the URL's own kind of connection wins, and over TLS nothing of `packing` would hold.
    given: dict[str, Any] = dict(parse_url(url))
    kind = packing(given.pop("connection_class", Connection))
    return _with_plain_replies(Redis.from_pool(ConnectionPool(connection_class=kind, **{**options, **given})))


def like(client: Redis) -> Redis:
    """A client of the same server with the same credentials, on connections of its own, that replies as `connect`'s do.

    Programs have clients that decode replies, or speak RESP3. The caller closes both.

    Raises:
        ValueError: no such client can be made from it; the message says what to do.
    """
    pool: Any = getattr(client, "connection_pool", None)
    if not isinstance(client, Redis) or type(pool) not in {ConnectionPool, BlockingConnectionPool}:
        kind = f"{type(client).__module__}.{type(client).__name__} on {type(pool).__name__}"
        raise ValueError(
            f"redis_client must be a redis.asyncio.Redis with a plain connection pool, not {kind}: leave it out, and "
            "one is connected to as the settings say"
        )
    # Notices of maintenance are bound to that pool, and to RESP3 (redis-py 8).
    options = {name: value for name, value in pool.connection_kwargs.items() if "maint_notifications" not in name}
    options |= {"decode_responses": False, "protocol": 2, "retry": Retry(NoBackoff(), 0)}
    if options.get("socket_timeout") is None:
        options["socket_timeout"] = _REPLY_TIMEOUT_S
    own = ConnectionPool(connection_class=pool.connection_class, **options)
    return _with_plain_replies(Redis.from_pool(own))


async def nodes_of(client: AnyRedis) -> dict[str, Redis]:
    """Clients of the servers that keys are on, by address: of all masters of a cluster. ('' for a single server.)

    Raises:
        redis.exceptions.RedisError: no node of the cluster can be asked.
    """
    return await client.masters() if isinstance(client, Cluster) else {"": client}


async def require_supported(client: AnyRedis) -> str:
    """Check the server's version. Returns a description such as ``valkey 9.1.2``; of each version, in a cluster.

    Raises:
        ServerTooOld: naming the version found and the one needed.
        redis.exceptions.RedisError: the server is away or refuses us.
    """
    found = {await _supported(node) for node in (await nodes_of(client)).values()}
    return ", ".join(sorted(found))


async def _supported(node: Redis) -> str:
    info = await node.info("server")
    if "valkey_version" in info:
        kind, version = "valkey", str(info["valkey_version"])
    else:
        kind, version = "redis", str(info["redis_version"])
    found = tuple(int(part) for part in version.split(".")[:2])
    needed = _MINIMUM[kind]
    if found < needed:
        raise ServerTooOld(f"{kind} {version} is too old: streamproc needs {kind} {needed[0]}.{needed[1]} or newer")
    return f"{kind} {version}"


async def require_no_eviction(client: AnyRedis) -> None:
    """https://redis.io/docs/latest/develop/reference/eviction/ (of keys with a time to live streamproc needs none)

    Raises:
        EvictsKeys: naming the policy.
        redis.exceptions.RedisError: the server is away or refuses us.
    """
    for node in (await nodes_of(client)).values():
        memory = await node.info("memory")
        policy = str(memory.get("maxmemory_policy", ""))
        if policy.startswith("allkeys") and int(memory.get("maxmemory", 0)) > 0:
            raise EvictsKeys(f"maxmemory-policy is {policy}")


def check_address(url: str) -> None:
    """Raises ValueError, saying what is allowed, if `connect` would not take `url`. Nothing is connected.

    The value is not repeated: a piece of the password may stand anywhere in it.
    """
    if not _has_address_form(url):
        raise ValueError(f"must be {_FORM}; percent-encode special characters in user and password")
    try:
        Redis.from_url(url).connection_pool.make_connection()
    except (ValueError, TypeError, RedisError):
        raise ValueError("has an option after the ? that redis-py does not know, or that has a wrong value") from None


def _has_address_form(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - asked for, since it is only then looked at
    except ValueError:
        return False
    database = parts.path.removeprefix("/")
    if parts.scheme == "unix":
        return bool(database)
    return parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and (not database or database.isdecimal())


def masked(url: str) -> str:
    """The address with `***` for user and password. Options are left out: they may hold secrets too."""
    parts = urlsplit(url)
    secret, _, host = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{'***@' if secret else ''}{host}{parts.path}"


def describe(url: str) -> str:
    """The address for messages: host, port and database, never user or password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _with_plain_replies(client: Redis) -> Redis:
    for command in ("XREADGROUP", "XRANGE", "HGETALL", "XINFO STREAM"):
        client.set_response_callback(command, _as_it_came)
    return client


def _as_it_came(response: Any, **_kwargs: Any) -> Any:
    return response
