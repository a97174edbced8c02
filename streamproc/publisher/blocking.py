"""The publisher for plain threads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamproc.publisher.delivery import FAILURES, Delivery, address_of
from streamproc.publisher.encoding import Encoder, Entry, EventLike, one
from streamproc.stores.redis.connect import describe

BlockingRedis = redis.Redis | redis.RedisCluster

_CONNECT_TIMEOUT_S: Final = 2.0
_REPLY_TIMEOUT_S: Final = 5.0


class BlockingSegmentPublisher:
    """Publishes finished segments, for plain threads, which may share one publisher.

        with BlockingSegmentPublisher("redis://127.0.0.1:6379/0") as publisher:
            publisher.publish(segment_id="17", channel_id="kan-11", session_id="s-1", user_id="u-1", ...)

    Arguments as for `SegmentPublisher`. With `cluster` it connects at once, and raises
    redis.exceptions.RedisClusterException if it cannot; otherwise at the first publish.
    """

    def __init__(
        self,
        to: str | BlockingRedis = "redis://127.0.0.1:6379/0",
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
        self._client = _connect_blocking(to, cluster) if isinstance(to, str) else to

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
            pipeline = self._client.pipeline(transaction=False)
            for entry in unconfirmed:
                pipeline.execute_command(*entry.command)
            try:
                delivery.record(pipeline.execute(raise_on_error=False))
            except FAILURES as error:
                delivery.failed(error)
            if delivery.unconfirmed:
                time.sleep(delivery.pause_s(time.monotonic()))
        return delivery.entry_ids


def _connect_blocking(url: str, cluster: bool) -> BlockingRedis:
    """The twin of `stores.redis.connect`: plain replies, and no repeating out of sight."""
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": _REPLY_TIMEOUT_S,
        "socket_connect_timeout": _CONNECT_TIMEOUT_S,
    }
    if cluster:
        return redis.RedisCluster.from_url(url, **options)
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
