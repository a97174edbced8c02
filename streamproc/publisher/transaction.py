"""Segments sent as a whole or not at all: a transaction for each stream.

In a plain pipeline Redis may refuse a segment and take the next one, as memory comes free between them; sent again, the
refused one would stand behind it. In a transaction none of them is taken then: a stream has its segments in the order
in which they were put. (https://redis.io/docs/latest/develop/using-commands/transactions/) In a cluster each stream
takes a pipeline of its own, as it may be on a node of its own. Through redis-py's client for clusters, where a caller
brings one, that is a plain pipeline: its transactions for asyncio run each command in a thread and an event loop of its
own, and mix up the loops (seen with 8.1). No I/O here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from streamproc.publisher.encoding import Entry
from streamproc.publisher.failures import TooFewReplicas

Batch = Sequence[Entry]
Command = tuple[bytes | str | int, ...]


class Transactions:
    """From batches, each of one stream, to commands of pipelines, and from replies to what became of each batch.

    Args:
        apart: streams may be on several nodes, so each takes a pipeline of its own.
        plain: pipelines without transactions, and without waiting for replicas.
        replicas: how many replicas must have a batch before it is confirmed.
        replica_timeout_ms: how long Redis waits for them.
    """

    def __init__(self, *, apart: bool, plain: bool, replicas: int, replica_timeout_ms: int) -> None:
        if replicas < 0 or replica_timeout_ms < 1:
            raise ValueError(
                f"replicas must be at least 0, got {replicas}, replica_timeout_ms at least 1, got {replica_timeout_ms}"
            )
        if replicas and plain:
            raise ValueError("replicas cannot be waited for through a RedisCluster of redis-py: give the URL of a node")
        self._apart = apart
        self._plain = plain
        self._replicas = replicas
        self._replica_timeout_ms = replica_timeout_ms

    def pipelines(self, batches: Sequence[Batch]) -> list[Sequence[Batch]]:
        """The batches that go together."""
        return [[batch] for batch in batches] if self._apart else [batches]

    def commands(self, batches: Sequence[Batch]) -> Iterator[Command]:
        """Of one pipeline. WAIT looks at what its own connection wrote before it."""
        for batch in batches:
            commands = (entry.command for entry in batch)
            yield from commands if self._plain else (("MULTI",), *commands, ("EXEC",))
        if self._replicas:
            yield ("WAIT", self._replicas, self._replica_timeout_ms)

    def outcomes(self, batches: Sequence[Batch], replies: Sequence[Any]) -> list[Exception | None]:
        """What became of each batch: None where all of it is confirmed, else why not."""
        unreplicated = self._shortage(replies[-1]) if self._replicas else None
        found, start = [], 0
        for batch in batches:
            end = start + len(batch) + (0 if self._plain else 2)
            found.append(_first_error(replies[start:end]) or unreplicated)
            start = end
        return found

    def _shortage(self, reply: Any) -> Exception | None:
        if isinstance(reply, Exception):
            return reply
        if reply < self._replicas:
            return TooFewReplicas(reply, self._replicas, self._replica_timeout_ms)
        return None


def _first_error(replies: Sequence[Any]) -> Exception | None:
    """The cause: where a command is refused, what EXEC says comes after it and is but the consequence."""
    for reply in replies:
        if isinstance(reply, Exception):
            return reply
        if isinstance(reply, list) and (error := _first_error(reply)):
            return error
    return None
