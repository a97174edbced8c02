"""How the server is that a shard is on: its memory and its replicas."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from streamproc.stores.redis import scripts
from streamproc.stores.redis.shard import Shard

_REPLICA: Final = re.compile(r"slave[0-9]+")


@dataclass(frozen=True, slots=True)
class ServerState:
    """One look at a server (https://redis.io/docs/latest/commands/info/).

    Attributes:
        now_ms: its time.
        used_bytes: of memory.
        limit_bytes: `maxmemory`; 0 where there is none.
        written: how far it is, as an offset in bytes of what it sends to replicas.
        replicas: how far each replica has said to be that is online; one that is still being filled is not.
    """

    now_ms: int
    used_bytes: int
    limit_bytes: int
    written: int
    replicas: tuple[int, ...]


async def server_state(shard: Shard) -> ServerState:
    """Look at the server that a shard is on. Raises redis.exceptions.RedisError."""
    now_ms, text = await shard.run(scripts.SERVER, [shard.keys.stream], [])
    return state_of(now_ms, text.decode())


def state_of(now_ms: int, text: str) -> ServerState:
    """What INFO says. Not all that it counts as replicas does it tell of: one that is going has no address any more."""
    info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    replicas = [_fields(value) for name, value in info.items() if _REPLICA.fullmatch(name)]
    return ServerState(
        now_ms=now_ms,
        used_bytes=int(info["used_memory"]),
        limit_bytes=int(info.get("maxmemory", 0)),
        written=int(info["master_repl_offset"]),
        replicas=tuple(int(one["offset"]) for one in replicas if one["state"] == "online"),
    )


def _fields(replica: str) -> dict[str, str]:
    """Of a line such as ``ip=127.0.0.1,port=6380,state=online,offset=1024,lag=0``."""
    return dict(field.split("=", 1) for field in replica.split(","))
