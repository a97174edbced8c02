"""What a Redis or Valkey tells of itself. Reads only."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import orjson
from redis.exceptions import NoPermissionError, ResponseError

from streamproc.app.checkup.known_bugs import Version, parse
from streamproc.stores.redis.connect import AnyRedis, nodes_of
from streamproc.stores.redis.keys import ShardKeys

Ask = Callable[..., Awaitable[Any]]

_PERMITTED: Final = files(__package__).joinpath("permitted.lua").read_text()
_ANSWERS: Final = 5
_CONFIGURED: Final = ("appendfsync", "save", "stop-writes-on-bgsave-error", "min-replicas-to-write")


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One server.

    Attributes:
        info: the fields of INFO; None where the user may not ask.
        config: the settings in `_CONFIGURED`; without those that the user may not read.
        denied: what the user may not run of what workers run; None where that could not be found out.
        answer_ms: the quickest of a few answers.
    """

    address: str
    info: Mapping[str, Any] | None
    config: Mapping[str, str]
    denied: Sequence[str] | None
    answer_ms: float

    @property
    def product(self) -> str:
        return "valkey" if "valkey_version" in (self.info or {}) else "redis"

    @property
    def version(self) -> Version:
        info = self.info or {}
        return parse(str(info.get("valkey_version", info.get("redis_version", ""))))


async def look_at_nodes(client: AnyRedis, address: str, keys: ShardKeys, group: str) -> list[NodeFacts]:
    """The server, or every primary of the cluster. Raises redis.exceptions.RedisError."""
    nodes = await nodes_of(client)
    return [
        await _look(node.execute_command, f"redis://{name}" if name else address, keys, group)
        for name, node in nodes.items()
    ]


async def _look(ask: Ask, address: str, keys: ShardKeys, group: str) -> NodeFacts:
    return NodeFacts(
        address=address,
        answer_ms=await _answer_ms(ask),
        info=await _allowed(ask("INFO")),
        config=await _config(ask),
        denied=await _denied(ask, keys, group),
    )


async def _answer_ms(ask: Ask) -> float:
    taken_ms = []
    for _ in range(_ANSWERS):
        asked = time.perf_counter()
        await ask("TIME")  # PING is refused where the last snapshot failed
        taken_ms.append((time.perf_counter() - asked) * 1000)
    return min(taken_ms)


async def _config(ask: Ask) -> dict[str, str]:
    """A managed service may know no CONFIG at all."""
    found: dict[str, str] = {}
    for name in _CONFIGURED:
        try:
            found |= await ask("CONFIG GET", name)
        except ResponseError:
            return {}
    return found


async def _denied(ask: Ask, keys: ShardKeys, group: str) -> list[str] | None:
    commands = commands_of_workers(keys, group)
    try:
        denied = await ask("EVAL", _PERMITTED, 0, orjson.dumps(commands))
    except ResponseError:
        return None
    return sorted({" ".join(words(commands[number])) for number in denied})


async def _allowed(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except NoPermissionError:
        return None


def words(command: Sequence[str]) -> Sequence[str]:
    """The name of a command: a word, or two for a container such as XGROUP."""
    return command[:2] if command[0] in ("XINFO", "XGROUP") else command[:1]


def commands_of_workers(keys: ShardKeys, group: str) -> list[list[str]]:
    """What workers and publishers run, by themselves or in scripts, on keys of their kind."""
    window = keys.window("2026010100:channel:session:user")
    member, score, stream = "member", "0", keys.stream
    return [
        ["EVAL", "return 1", "0"],
        ["EVALSHA", "0" * 40, "0"],
        ["TIME"],
        ["INFO"],
        ["SCAN", score],
        ["EXISTS", window.segments],
        ["UNLINK", window.segments],
        ["HSETNX", window.segments, "field", "value"],
        ["HGETALL", window.segments],
        ["HLEN", window.segments],
        ["HSET", keys.layout, "field", "value"],
        ["HGET", keys.layout, "field"],
        ["HDEL", keys.ledger, "field"],
        ["HINCRBY", keys.ledger, "field", "1"],
        ["SADD", window.channel, member],
        ["SREM", window.channel, member],
        ["SCARD", window.channel],
        ["SSCAN", window.channel, score],
        ["SET", keys.turn("sweep"), "1"],
        ["GET", keys.turn("sweep")],
        ["PEXPIRE", keys.turn("sweep"), "1"],
        ["ZADD", keys.open, score, member],
        ["ZCARD", keys.open],
        ["ZCOUNT", keys.open, "-inf", "+inf"],
        ["ZREM", keys.taken, member],
        ["ZSCORE", keys.closed, member],
        ["ZSCAN", keys.closed, score],
        ["ZRANGE", keys.open, "0", "-1"],
        ["ZRANGEBYSCORE", keys.open, "-inf", "+inf"],
        ["ZREMRANGEBYSCORE", keys.erased, "-inf", "0"],
        ["XADD", stream, "*", "data", "value"],
        ["XADD", keys.dead, "*", "reason", "value"],
        ["XREADGROUP", "GROUP", group, "consumer", "STREAMS", stream, ">"],
        ["XACK", stream, group, "1-1"],
        ["XAUTOCLAIM", stream, group, "consumer", "1", "0"],
        ["XPENDING", stream, group],
        ["XRANGE", stream, "-", "+"],
        ["XREVRANGE", stream, "+", "-"],
        ["XDEL", stream, "1-1"],
        ["XLEN", keys.dead],
        ["XTRIM", stream, "MINID", "~", "0"],
        ["XGROUP", "CREATE", stream, group, "0", "MKSTREAM"],
        ["XGROUP", "DELCONSUMER", stream, group, "consumer"],
        ["XINFO", "STREAM", stream],
        ["XINFO", "GROUPS", stream],
        ["XINFO", "CONSUMERS", stream, group],
    ]
