"""What may go wrong on the way to Redis: what passes by waiting, what does not, and what the caller is told."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions

from streamproc.publisher.encoding import Entry

#: What a try may raise. RedisClusterException is no RedisError.
FAILURES: Final = (exceptions.RedisError, exceptions.RedisClusterException, OSError)

#: What to do with what was not confirmed.
REPEATING_IS_HARMLESS: Final = (
    "They may have arrived all the same: publish them again, repeating is harmless, a segment counts once."
)

# Waiting mends none of these. All else may pass: connection lost, loading (LOADING), failover (READONLY, MASTERDOWN,
# CLUSTERDOWN), memory full (OOM), disk full (MISCONF), too few replicas (NOREPLICAS).
_HOPELESS: Final = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
    exceptions.DataError,
)
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0


class PublishFailed(Exception):
    """Redis did not confirm some segments. Publish them again: those that did arrive still count once."""

    def __init__(self, message: str, entries: Sequence[Entry] = ()) -> None:
        super().__init__(message)
        self._entries = entries

    @property
    def unconfirmed(self) -> list[dict[str, Any]]:
        """The events not confirmed, oldest first, as JSON has them: to be stored, or given to a publisher again."""
        return [entry.event for entry in self._entries]


class BufferFull(Exception):
    """The buffer has no room, and had none for as long as `put` may wait. The segment given was not taken.

    Attributes:
        waiting: how many segments wait to be confirmed.
    """

    def __init__(self, message: str, waiting: int = 0) -> None:
        super().__init__(message)
        self.waiting = waiting


class TooFewReplicas(Exception):
    """Redis has the segments, but fewer replicas confirmed them than were asked for."""

    def __init__(self, confirmed: int, asked: int, timeout_ms: int) -> None:
        super().__init__(f"{confirmed} of {asked} replicas confirmed within {timeout_ms} ms")


class Pauses:
    """How long to wait before the next try: twice as long each time, up to a cap, and spread."""

    def __init__(self) -> None:
        self._next_s = _FIRST_PAUSE_S

    def next_s(self) -> float:
        pause_s = self._next_s * random.uniform(0.5, 1.0)
        self._next_s = min(self._next_s * 2, _LONGEST_PAUSE_S)
        return pause_s

    def reset(self) -> None:
        self._next_s = _FIRST_PAUSE_S


def is_hopeless(error: Exception) -> bool:
    """Whether a person has to mend something first: waiting cannot help."""
    return isinstance(error, _HOPELESS) or str(error).startswith("WRONGTYPE")


def in_words(error: Exception) -> str:
    """Without the command that redis-py puts before an error in a cluster: there is a user's id in it."""
    said = re.sub(r"^Command # \d+ \(.*\) of pipeline caused error: ", "", str(error), flags=re.DOTALL)
    return f"{type(error).__name__}: {said.rstrip('.')}"
