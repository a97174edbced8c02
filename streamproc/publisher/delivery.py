"""Entries on their way to Redis: what is confirmed, what is to be sent again, when to give up.

A segment counts once, however often its entry is added, so whatever was not confirmed is sent again, also where only
the reply was lost. A lost connection takes all replies of its pipeline with it; an error reply concerns its own entry
alone. No I/O and no clock here: both forms of the publisher ask this what to do next.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions

from streamproc.publisher.encoding import Entry

#: What a try may raise. RedisClusterException is no RedisError.
FAILURES: Final = (exceptions.RedisError, exceptions.RedisClusterException, OSError)

# Waiting mends none of these. All else (connection lost, failover, loading, memory full, too few replicas) may pass.
_HOPELESS: Final = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
    exceptions.DataError,
)
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0


class PublishFailed(Exception):
    """Redis did not confirm some segments. Publish them again: those that did arrive still count once.

    Attributes:
        unconfirmed: how many of the segments under way were not confirmed.
    """

    def __init__(self, address: str, unconfirmed: int, of: int, error: Exception) -> None:
        super().__init__(
            f"{unconfirmed} of {of} segments not confirmed by {address}; last error: {type(error).__name__}: {error}. "
            "They may have arrived all the same: publish them again, repeating is harmless, a segment counts once."
        )
        self.unconfirmed = unconfirmed


class Delivery:
    """Entries on their way: which are confirmed, when to try again, when to give up. Times are seconds, the caller's.

    Args:
        address: where to, for messages.
        retry_for_s: when this time has passed, no further try is begun. One under way is not cut short.
    """

    def __init__(self, entries: Sequence[Entry], *, address: str, retry_for_s: float, now_s: float) -> None:
        self._entries = entries
        self._ids: list[str | None] = [None] * len(entries)
        self._address = address
        self._give_up_s = now_s + retry_for_s
        self._pause_s = _FIRST_PAUSE_S
        self._last_error: Exception = exceptions.RedisError("no reply")

    @property
    def unconfirmed(self) -> list[Entry]:
        return [entry for entry, entry_id in zip(self._entries, self._ids, strict=True) if entry_id is None]

    @property
    def entry_ids(self) -> list[str]:
        """The ids of the confirmed entries, in the order the entries were given."""
        return [entry_id for entry_id in self._ids if entry_id is not None]

    def record(self, replies: Sequence[Any]) -> None:
        """Take in the replies to the commands of `unconfirmed`. Raises PublishFailed if waiting cannot help."""
        waiting = [index for index, entry_id in enumerate(self._ids) if entry_id is None]
        failures = []
        for index, reply in zip(waiting, replies, strict=True):
            if isinstance(reply, Exception):
                failures.append(reply)
            else:
                self._ids[index] = reply.decode() if isinstance(reply, bytes) else str(reply)
        for error in failures:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """A try failed. Raises PublishFailed if waiting cannot help."""
        self._last_error = error
        if isinstance(error, _HOPELESS) or str(error).startswith("WRONGTYPE"):
            raise self._given_up() from error

    def pause_s(self, now_s: float) -> float:
        """How long to wait before the next try: twice as long each time, and spread. Raises PublishFailed."""
        left_s = self._give_up_s - now_s
        if left_s <= 0:
            raise self._given_up() from self._last_error
        pause_s = self._pause_s * random.uniform(0.5, 1.0)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        return min(pause_s, left_s)

    def _given_up(self) -> PublishFailed:
        return PublishFailed(self._address, len(self.unconfirmed), len(self._entries), self._last_error)


def address_of(client: Any) -> str:
    """Where a ready client leads, for messages: host and port, or the path of its socket."""
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        return "the Redis cluster"
    found = pool.connection_kwargs
    return str(found["path"]) if "path" in found else f"{found.get('host', 'localhost')}:{found.get('port', 6379)}"
