"""The buffered publisher for asyncio."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Self

from redis.asyncio import RedisCluster

from streamproc.publisher.buffer import Buffer
from streamproc.publisher.concurrent import Client
from streamproc.publisher.delivery import address_of
from streamproc.publisher.encoding import Encoder, EventLike, one
from streamproc.publisher.failures import FAILURES
from streamproc.publisher.hooks import PublisherMetrics
from streamproc.publisher.transaction import Batch, Transactions
from streamproc.stores.redis.cluster import Cluster
from streamproc.stores.redis.connect import connect, describe

_REPLY_TIMEOUT_S: Final = 5.0
_log = logging.getLogger(__name__)


class BufferedSegmentPublisher:
    """Takes segments at once, and sends them in the background until Redis has confirmed them. For asyncio.

        async with BufferedSegmentPublisher("redis://127.0.0.1:6379/0") as publisher:
            await publisher.put(segment_id="17", channel_id="kan-11", session_id="s-1", user_id="u-1", ...)

    A segment leaves the buffer when it is confirmed, and not before. The segments of a session arrive in the order in
    which they were put. For one event loop.

    Args:
        to: URL of Redis, or a ready client, which stays the caller's to close.
        prefix, shards: as the workers are set (STREAMPROC_PREFIX, STREAMPROC_SHARDS).
        cluster: the URL is that of a Redis Cluster.
        buffer: how many segments it holds, at half a kilobyte or so each.
        wait_up_to_s: how long `put` may wait while the buffer is full. 0: it raises at once.
        close_within_s: how long `close` waits for what is not yet confirmed.
        replicas: how many replicas must have a segment, too, before it is confirmed (WAIT). Not with a
            ready client of a cluster.
        replica_timeout_ms: how long Redis waits for them before the segment is sent again.
        metrics: is told what happens.
    """

    def __init__(
        self,
        to: str | Client = "redis://127.0.0.1:6379/0",
        *,
        prefix: str = "dubbing",
        shards: int = 1,
        cluster: bool = False,
        buffer: int = 10_000,
        wait_up_to_s: float = 5.0,
        close_within_s: float = 10.0,
        replicas: int = 0,
        replica_timeout_ms: int = 1000,
        metrics: PublisherMetrics | None = None,
    ) -> None:
        self._encoder = Encoder(prefix, shards)
        self._transactions = Transactions(
            apart=cluster or isinstance(to, Cluster | RedisCluster),
            plain=isinstance(to, RedisCluster),
            replicas=replicas,
            replica_timeout_ms=replica_timeout_ms,
        )
        address = describe(to) if isinstance(to, str) else address_of(to)
        self._buffer = Buffer(buffer, address=address, metrics=metrics or PublisherMetrics())
        self._wait_up_to_s = wait_up_to_s
        self._close_within_s = close_within_s
        self._owned = isinstance(to, str)
        patience_s = _REPLY_TIMEOUT_S + replica_timeout_ms / 1000
        self._client = connect(to, cluster=cluster, reply_timeout_s=patience_s) if isinstance(to, str) else to
        self._sender: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._closing = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """How many segments are not confirmed."""
        return self._buffer.waiting

    @property
    def unconfirmed(self) -> list[dict[str, Any]]:
        """The events that are not confirmed, of a session the oldest first, as JSON has them."""
        return [entry.event for entry in self._buffer.entries]

    async def put(self, event: EventLike | None = None, /, **fields: Any) -> None:
        """Take one segment, given as an event, a mapping or fields by name, to be sent in the background.

        Raises:
            InvalidEvent: naming field, value and rule.
            BufferFull: there was no room within `wait_up_to_s`.
            PublishFailed: Redis refuses what was put before (password, rights, a key of another type).
            RuntimeError: the publisher is closed.

        Whatever is raised, this segment was not taken, and those taken before are kept.
        """
        entry = self._encoder.entry(one(event, fields))
        async with self._changed:
            if self._sender is None and not self._buffer.closed:
                self._sender = asyncio.create_task(self._run(), name="streamproc publisher")
            waited_s = await self._room() if self._buffer.must_wait() else None
            self._buffer.put(entry, waited_s)
            self._changed.notify_all()

    async def flush(self, timeout_s: float) -> None:
        """Return as soon as all that was put before is confirmed.

        Raises:
            PublishFailed: it is not, within this time or since Redis refuses it. What is not confirmed is kept, and
                still sent; the exception gives the events too.
        """
        async with self._changed:
            mark = self._buffer.mark()
            await self._until(lambda: self._buffer.confirmed(mark) or self._buffer.refusal is not None, timeout_s)
            if not self._buffer.confirmed(mark):
                raise self._buffer.unconfirmed(timeout_s)

    async def close(self) -> None:
        """Take no more, flush within `close_within_s`, and end. Once closed, it does nothing.

        Raises:
            PublishFailed: not all was confirmed. Nothing is sent any more: what is not confirmed is the caller's again.
        """
        async with self._closing:
            if self._buffer.closed:
                return
            async with self._changed:
                self._buffer.closed = True
                self._changed.notify_all()
            try:
                await self.flush(self._close_within_s)
            except asyncio.CancelledError:
                self._tell_of_unconfirmed("close() was cancelled")
                raise
            finally:
                await self._end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _room(self) -> float:
        """Wait for room. Returns how long that took; whether there is any, `Buffer.put` sees."""
        began_s = time.monotonic()
        await self._until(lambda: not self._buffer.must_wait(), self._wait_up_to_s)
        return time.monotonic() - began_s

    async def _until(self, holds: Callable[[], bool], timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait_for(holds)

    async def _run(self) -> None:
        """The sender: the one task that speaks to Redis."""
        try:
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: self._buffer.waiting > 0)
                    batches = self._buffer.batches()
                await self._send(batches)
                await asyncio.sleep(self._buffer.pause_s())
        except asyncio.CancelledError:
            self._buffer.broke(RuntimeError("its event loop ended"))
            if not self._buffer.closed:
                self._tell_of_unconfirmed("its event loop ended before close()")
            raise
        except Exception as error:
            async with self._changed:
                self._buffer.broke(error)
                self._changed.notify_all()

    async def _send(self, batches: Sequence[Batch]) -> None:
        """Try each batch once. A node that is slow to answer holds up what goes to no other."""
        await asyncio.gather(*(self._try(group) for group in self._transactions.pipelines(batches)))

    async def _try(self, group: Sequence[Batch]) -> None:
        try:
            outcomes = await self._exchange(group)
        except FAILURES as error:
            outcomes = [error] * len(group)
        async with self._changed:
            for batch, outcome in zip(group, outcomes, strict=True):
                self._buffer.record(batch, outcome)
            self._changed.notify_all()

    async def _exchange(self, batches: Sequence[Batch]) -> list[Exception | None]:
        client = self._client.of(batches[0][0].stream) if isinstance(self._client, Cluster) else self._client
        pipeline: Any = client.pipeline(transaction=False)
        for command in self._transactions.commands(batches):
            pipeline.execute_command(*command)
        return self._transactions.outcomes(batches, await pipeline.execute(raise_on_error=False))

    async def _end(self) -> None:
        if self._sender:
            self._sender.cancel()
            await asyncio.wait([self._sender])
        if self._owned:
            await self._client.aclose()

    def _tell_of_unconfirmed(self, why: str) -> None:
        if self._buffer.waiting:
            _log.error("%d segments are not confirmed, and are not sent any more: %s", self._buffer.waiting, why)
