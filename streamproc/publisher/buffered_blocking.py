"""The buffered publisher for plain threads."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any, Self

import redis

from streamproc.publisher.blocking import REPLY_TIMEOUT_S, BlockingClient, connect_blocking
from streamproc.publisher.blocking_cluster import BlockingCluster
from streamproc.publisher.buffer import Buffer
from streamproc.publisher.delivery import address_of
from streamproc.publisher.encoding import Encoder, EventLike, one
from streamproc.publisher.failures import FAILURES, PublishFailed
from streamproc.publisher.hooks import PublisherMetrics
from streamproc.publisher.transaction import Batch, Transactions
from streamproc.stores.redis.connect import describe

_log = logging.getLogger(__name__)


class BlockingBufferedSegmentPublisher:
    """Takes segments at once, and sends them in the background until Redis has confirmed them. For plain threads.

        with BlockingBufferedSegmentPublisher("redis://127.0.0.1:6379/0") as publisher:
            publisher.put(segment_id="17", channel_id="kan-11", session_id="s-1", user_id="u-1", ...)

    Threads may share one publisher, processes may not: make one in each. Arguments as for `BufferedSegmentPublisher`.
    A program that ends without `close` is held up by it, and told by a traceback of what was not confirmed.
    """

    def __init__(
        self,
        to: str | BlockingClient = "redis://127.0.0.1:6379/0",
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
            apart=cluster or isinstance(to, BlockingCluster | redis.RedisCluster),
            plain=isinstance(to, redis.RedisCluster),
            replicas=replicas,
            replica_timeout_ms=replica_timeout_ms,
        )
        address = describe(to) if isinstance(to, str) else address_of(to)
        self._buffer = Buffer(buffer, address=address, metrics=metrics or PublisherMetrics())
        self._wait_up_to_s = wait_up_to_s
        self._close_within_s = close_within_s
        self._owned = isinstance(to, str)
        patience_s = REPLY_TIMEOUT_S + replica_timeout_ms / 1000
        self._client = connect_blocking(to, cluster, patience_s) if isinstance(to, str) else to
        self._sender: threading.Thread | None = None
        self._process: int | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._closing = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many segments are not confirmed."""
        with self._changed:
            return self._buffer.waiting

    @property
    def unconfirmed(self) -> list[dict[str, Any]]:
        """As of `BufferedSegmentPublisher`."""
        with self._changed:
            entries = self._buffer.entries
        return [entry.event for entry in entries]

    def put(self, event: EventLike | None = None, /, **fields: Any) -> None:
        """As `BufferedSegmentPublisher.put`."""
        entry = self._encoder.entry(one(event, fields))
        self._require_own_process()
        with self._changed:
            if self._sender is None and not self._buffer.closed:
                self._start()
            waited_s = self._room() if self._buffer.must_wait() else None
            self._buffer.put(entry, waited_s)
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> None:
        """As `BufferedSegmentPublisher.flush`."""
        self._require_own_process()
        with self._changed:
            mark = self._buffer.mark()
            self._changed.wait_for(lambda: self._buffer.confirmed(mark) or self._buffer.refusal is not None, timeout_s)
            if not self._buffer.confirmed(mark):
                raise self._buffer.unconfirmed(timeout_s)

    def close(self) -> None:
        """As `BufferedSegmentPublisher.close`. Does not wait for a try under way that has not ended by then."""
        if self._is_a_copy():
            return
        with self._closing:
            if self._buffer.closed:
                return
            with self._changed:
                self._buffer.closed = True
                self._changed.notify_all()
            try:
                self.flush(self._close_within_s)
            except PublishFailed:
                raise
            except BaseException:  # Ctrl-C while it waits
                _log.error("%d segments are not confirmed, and are not sent any more", self._buffer.waiting)
                raise
            finally:
                self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_a_copy(self) -> bool:
        """Whether this process was forked from one that had begun to publish. Its thread is not here."""
        return self._process not in (None, os.getpid())

    def _require_own_process(self) -> None:
        if self._is_a_copy():
            raise RuntimeError("this publisher was in use before the process was forked: make one in each process")

    def _start(self) -> None:
        self._process = os.getpid()
        self._sender = threading.Thread(target=self._run, name="streamproc publisher", daemon=True)
        self._sender.start()
        atexit.register(self.close)

    def _room(self) -> float:
        """Wait for room. Returns how long that took; whether there is any, `Buffer.put` sees."""
        began_s = time.monotonic()
        self._changed.wait_for(lambda: not self._buffer.must_wait(), self._wait_up_to_s)
        return time.monotonic() - began_s

    def _run(self) -> None:
        """The sender: the one thread that speaks to Redis."""
        try:
            while batches := self._next():
                self._send(batches)
        except Exception as error:
            with self._changed:
                self._buffer.broke(error)
                self._changed.notify_all()
        finally:
            if self._owned:
                self._client.close()

    def _next(self) -> list[Batch]:
        """What is to be sent, once there is anything and the pause after a failed try is over; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, self._buffer.pause_s())
            self._changed.wait_for(lambda: self._ended or self._buffer.waiting > 0)
            return [] if self._ended else self._buffer.batches()

    def _send(self, batches: Sequence[Batch]) -> None:
        """Try each batch once."""
        for group in self._transactions.pipelines(batches):
            try:
                outcomes = self._exchange(group)
            except FAILURES as error:
                outcomes = [error] * len(group)
            with self._changed:
                for batch, outcome in zip(group, outcomes, strict=True):
                    self._buffer.record(batch, outcome)
                self._changed.notify_all()

    def _exchange(self, batches: Sequence[Batch]) -> list[Exception | None]:
        client = self._client.of(batches[0][0].stream) if isinstance(self._client, BlockingCluster) else self._client
        pipeline: Any = client.pipeline(transaction=False)
        for command in self._transactions.commands(batches):
            pipeline.execute_command(*command)
        return self._transactions.outcomes(batches, pipeline.execute(raise_on_error=False))

    def _end(self) -> None:
        """Let the thread end. It closes the client, since it may be at it: in the midst of a try for some seconds."""
        atexit.unregister(self.close)
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._sender and not self._buffer.waiting:
            self._sender.join()
