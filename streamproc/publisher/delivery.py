"""Entries on their way to Redis: what is confirmed, what is to be sent again, when to give up.

A segment counts once, however often its entry is added, so whatever was not confirmed is sent again, also where only
the reply was lost. A lost connection takes all replies of its pipeline with it; an error reply concerns its own entry
alone. No I/O and no clock here: both forms of the publisher ask this what to do next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from redis import exceptions

from streamproc.publisher.encoding import Entry
from streamproc.publisher.failures import REPEATING_IS_HARMLESS, Pauses, PublishFailed, in_words, is_hopeless


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
        self._pauses = Pauses()
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
        if is_hopeless(error):
            raise self._given_up() from error

    def pause_s(self, now_s: float) -> float:
        """How long to wait before the next try. Raises PublishFailed when the time is up."""
        left_s = self._give_up_s - now_s
        if left_s <= 0:
            raise self._given_up() from self._last_error
        return min(self._pauses.next_s(), left_s)

    def _given_up(self) -> PublishFailed:
        unconfirmed = self.unconfirmed
        return PublishFailed(
            f"{len(unconfirmed)} of {len(self._entries)} segments not confirmed by {self._address}; "
            f"last error: {in_words(self._last_error)}. {REPEATING_IS_HARMLESS}",
            unconfirmed,
        )


def by_stream(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """In a cluster streams are on several nodes, so the entries of each take a pipeline of their own."""
    lanes: dict[str, list[Entry]] = {}
    for entry in entries:
        lanes.setdefault(entry.stream, []).append(entry)
    return lanes


def in_order(entries: Sequence[Entry], replies: Mapping[str, Iterator[Any]]) -> list[Any]:
    """The reply to each entry, from those of each stream."""
    return [next(replies[entry.stream]) for entry in entries]


def address_of(client: Any) -> str:
    """Where a ready client leads, for messages: host and port, or the path of its socket."""
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        return "the Redis cluster"
    found = pool.connection_kwargs
    return str(found["path"]) if "path" in found else f"{found.get('host', 'localhost')}:{found.get('port', 6379)}"
