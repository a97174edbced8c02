"""Sessions whose documents are behind: hours of theirs are stored which the documents' totals may not hold yet.

They are noted after the hours are stored and before the flush is finished. So whatever happens, a session is noted, or
its windows are flushed again, and it is noted then. Whoever brings a document up to date lets go of the note only if
nothing was noted since.

No user is named. The last error goes along, since of errors MongoDB holds only numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import msgspec

from streamproc.core.sessions import LastError
from streamproc.stores.redis import scripts
from streamproc.stores.redis.shard import Shard

# Where nobody brings documents up to date, and nothing is flushed, notes are not kept for ever.
_KEPT_MS: Final = 7 * 86_400_000
_pack = msgspec.msgpack.Encoder().encode


class Behind(NamedTuple):
    """Sessions taken to be brought up to date, each with the last error that was noted.

    Attributes:
        now_ms: Redis' time when they were taken.
        until_ms: when others may take them.
        waiting: how many were noted in all, taken ones included.
    """

    sessions: Mapping[str, LastError | None]
    now_ms: int
    until_ms: int
    waiting: int


class BehindSessions:
    """The sessions of one shard that are behind. All of it raises redis.exceptions.RedisError: repeat."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._keys = [shard.keys.behind, shard.keys.last_errors]

    async def note(self, sessions: Mapping[str, LastError | None]) -> None:
        """Note that these are behind, and the last error of the hours that were stored of each."""
        if sessions:
            noted = [[session_id, *(error or (None, None))] for session_id, error in sessions.items()]
            await self._shard.run(scripts.BEHIND, self._keys, [_KEPT_MS, _pack(noted)])

    async def take(self, limit: int, visibility_ms: int) -> Behind:
        """Take up to `limit` of them, for so long."""
        now_ms, until_ms, waiting, *flat = await self._shard.run(
            scripts.TAKE_BEHIND, self._keys, [limit, visibility_ms]
        )
        sessions = {
            session_id.decode(): _last_error(error) for session_id, error in zip(flat[::2], flat[1::2], strict=True)
        }
        return Behind(sessions, now_ms, until_ms, waiting)

    async def let_go(self, behind: Behind, sessions: Collection[str]) -> int:
        """These of the taken ones are up to date. Returns of how many nothing was noted since."""
        if not sessions:
            return 0
        return int(await self._shard.run(scripts.CAUGHT_UP, self._keys, [behind.until_ms, *sessions]))


def _last_error(raw: bytes) -> LastError | None:
    if not raw:
        return None
    at_ms, _, text = raw.decode().partition(" ")
    return LastError(int(at_ms), text)
