"""A connection that packs commands quickly."""

from __future__ import annotations

from typing import Any

import hiredis
from redis.asyncio.connection import Connection


class PackingConnection(Connection):
    """Packs a command in C, which redis-py does for its blocking client alone: a commit names a thousand keys."""

    def pack_command(self, *args: Any) -> list[bytes]:
        if b" " in args[0] if isinstance(args[0], bytes) else " " in args[0]:
            return super().pack_command(*args)  # a name of two words is two arguments
        return [hiredis.pack_command(args)]
