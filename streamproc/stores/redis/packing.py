"""Connections that pack commands quickly, and say of themselves when they have gone: over TCP, TLS and a socket."""

from __future__ import annotations

from typing import Any, Final

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError


class _Packing(AbstractConnection):
    """Packs a command in C, which redis-py does for its blocking client alone: a commit names a thousand keys."""

    def pack_command(self, *args: Any) -> list[bytes]:
        if b" " in args[0] if isinstance(args[0], bytes) else " " in args[0]:
            return super().pack_command(*args)  # a name of two words is two arguments
        return [hiredis.pack_command(args)]

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        """Raises redis.exceptions.RedisError.

        uvloop has a RuntimeError for a transport that was closed a moment before; to redis-py, and to us, that would
        be a mistake in the program. It ended a worker while Redis was being killed (`make chaos SEED=33`).
        """
        try:
            await super().send_packed_command(*args, **options)
        except RuntimeError as error:
            raise RedisConnectionError(f"Error while writing to the connection: {error}") from error


class PackingConnection(_Packing, Connection):
    """Over TCP: ``redis://``."""


class PackingTLSConnection(_Packing, SSLConnection):
    """Over TLS: ``rediss://``."""


class PackingSocketConnection(_Packing, UnixDomainSocketConnection):
    """Over a socket of this machine: ``unix://``."""


_PACKING: Final[dict[type[AbstractConnection], type[_Packing]]] = {
    Connection: PackingConnection,
    SSLConnection: PackingTLSConnection,
    UnixDomainSocketConnection: PackingSocketConnection,
}


def packing(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """Of one of redis-py's kinds of connection, the one that packs."""
    return _PACKING[kind]
