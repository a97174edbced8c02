"""The publisher for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, Final, Self

from redis.asyncio import Redis, RedisCluster

from streamproc.publisher.delivery import Delivery, address_of, by_stream, in_order
from streamproc.publisher.encoding import Encoder, Entry, EventLike, one
from streamproc.publisher.failures import FAILURES
from streamproc.stores.redis.cluster import Cluster
from streamproc.stores.redis.connect import connect, describe

#: What a publisher sends by. RedisCluster only where a caller brings its own.
Client = Redis | Cluster | RedisCluster

REPLY_TIMEOUT_S: Final = 5.0


class SegmentPublisher:
    """Publishes finished segments, for asyncio.

        async with SegmentPublisher("redis://127.0.0.1:6379/0") as publisher:
            await publisher.publish(segment_id="17", channel_id="kan-11", session_id="s-1", user_id="u-1", ...)

    Args:
        to: URL of Redis, or a ready client, which stays the caller's to close.
        prefix, shards: as the workers are set (STREAMPROC_PREFIX, STREAMPROC_SHARDS).
        cluster: the URL is that of a Redis Cluster.
        retry_for_s: how long to repeat what was not confirmed before giving up.
    """

    def __init__(
        self,
        to: str | Client = "redis://127.0.0.1:6379/0",
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
        self._client = connect(to, cluster=cluster, reply_timeout_s=REPLY_TIMEOUT_S) if isinstance(to, str) else to

    async def publish(self, event: EventLike | None = None, /, **fields: Any) -> str:
        """Publish one segment, given as an event, a mapping or fields by name. Returns its entry id.

        Raises:
            InvalidEvent: naming field, value and rule; nothing was sent.
            PublishFailed: Redis did not confirm it.
        """
        return (await self._deliver([self._encoder.entry(one(event, fields))]))[0]

    async def publish_many(self, many: Iterable[EventLike]) -> list[str]:
        """Publish segments in pipelines of up to `CHUNK`. Returns their entry ids in order.

        Raises:
            InvalidEvent: naming the event's index beside field, value and rule; of its chunk nothing was sent.
            PublishFailed: Redis did not confirm a chunk; the chunks before it are confirmed.
        """
        return [entry_id for chunk in self._encoder.chunks(many) for entry_id in await self._deliver(chunk)]

    async def close(self) -> None:
        if self._owned:
            await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _deliver(self, entries: Sequence[Entry]) -> list[str]:
        return await deliver(self._client, entries, address=self._address, retry_for_s=self._retry_for_s)


async def deliver(client: Client, entries: Sequence[Entry], *, address: str, retry_for_s: float = 30.0) -> list[str]:
    """Add entries in a pipeline, and again what was not confirmed. Returns their ids. Raises PublishFailed."""
    delivery = Delivery(entries, address=address, retry_for_s=retry_for_s, now_s=time.monotonic())
    while unconfirmed := delivery.unconfirmed:
        delivery.record(await _send(client, unconfirmed))
        if delivery.unconfirmed:
            await asyncio.sleep(delivery.pause_s(time.monotonic()))
    return delivery.entry_ids


async def _send(client: Client, entries: Sequence[Entry]) -> list[Any]:
    """The reply to each entry, or what went wrong with it."""
    if not isinstance(client, Cluster):
        return in_order(entries, dict.fromkeys((entry.stream for entry in entries), await _try(client, entries)))
    lanes = by_stream(entries)
    found = await asyncio.gather(*(_try(client.of(stream), lane) for stream, lane in lanes.items()))
    return in_order(entries, dict(zip(lanes, found, strict=True)))


async def _try(client: Redis | RedisCluster, entries: Sequence[Entry]) -> Iterator[Any]:
    pipeline: Any = client.pipeline(transaction=False)
    for entry in entries:
        pipeline.execute_command(*entry.command)
    try:
        return iter(await pipeline.execute(raise_on_error=False))
    except FAILURES as error:
        return repeat(error)
