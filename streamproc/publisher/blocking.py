"""The publisher for plain threads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamproc.publisher.blocking_cluster import BlockingCluster
from streamproc.publisher.delivery import Delivery, address_of, by_stream, in_order
from streamproc.publisher.encoding import Encoder, Entry, EventLike, one
from streamproc.publisher.failures import FAILURES
from streamproc.stores.redis.connect import describe

#: What a publisher sends by. RedisCluster only where a caller brings its own.
BlockingClient = redis.Redis | BlockingCluster | redis.RedisCluster

_CONNECT_TIMEOUT_S: Final = 2.0
REPLY_TIMEOUT_S: Final = 5.0


class BlockingSegmentPublisher:
    """Publishes finished segments, for plain threads, which may share one publisher.

        with BlockingSegmentPublisher("redis://127.0.0.1:6379/0") as publisher:
            publisher.publish(segment_id="17", channel_id="kan-11", session_id="s-1", user_id="u-1", ...)

    Arguments as for `SegmentPublisher`.
    """

    def __init__(
        self,
        to: str | BlockingClient = "redis://127.0.0.1:6379/0",
        *,
        prefix: str = "dubbing",
        shards: int = 1,
        cluster: bool = False,
        retry_for_s: float = 30.0,
    ) -> None:
        self._encoder = Encoder(prefix, shards)
        self._owned = isinstance(to, str)
        self._address = describe(to) if isinstance(to, str) else address_of(to)
        self._retry_for_s = retry_for_s
        self._client = connect_blocking(to, cluster) if isinstance(to, str) else to

    def publish(self, event: EventLike | None = None, /, **fields: Any) -> str:
        """As `SegmentPublisher.publish`."""
        return self._deliver([self._encoder.entry(one(event, fields))])[0]

    def publish_many(self, many: Iterable[EventLike]) -> list[str]:
        """As `SegmentPublisher.publish_many`."""
        return [entry_id for chunk in self._encoder.chunks(many) for entry_id in self._deliver(chunk)]

    def close(self) -> None:
        if self._owned:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _deliver(self, entries: Sequence[Entry]) -> list[str]:
        delivery = Delivery(entries, address=self._address, retry_for_s=self._retry_for_s, now_s=time.monotonic())
        while unconfirmed := delivery.unconfirmed:
            delivery.record(_send(self._client, unconfirmed))
            if delivery.unconfirmed:
                time.sleep(delivery.pause_s(time.monotonic()))
        return delivery.entry_ids


def connect_blocking(url: str, cluster: bool, reply_timeout_s: float = REPLY_TIMEOUT_S) -> BlockingClient:
    """The twin of `stores.redis.connect`: plain replies, and no repeating out of sight."""
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": reply_timeout_s,
        "socket_connect_timeout": _CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
    return BlockingCluster(url, **options) if cluster else redis.Redis.from_url(url, **options)


def _send(client: BlockingClient, entries: Sequence[Entry]) -> list[Any]:
    """The reply to each entry, or what went wrong with it."""
    if not isinstance(client, BlockingCluster):
        return in_order(entries, dict.fromkeys((entry.stream for entry in entries), _try(client, entries)))
    found = {stream: _try(client.of(stream), lane) for stream, lane in by_stream(entries).items()}
    return in_order(entries, found)


def _try(client: redis.Redis | redis.RedisCluster, entries: Sequence[Entry]) -> Iterator[Any]:
    pipeline: Any = client.pipeline(transaction=False)
    for entry in entries:
        pipeline.execute_command(*entry.command)
    try:
        return iter(pipeline.execute(raise_on_error=False))
    except FAILURES as error:
        return repeat(error)
