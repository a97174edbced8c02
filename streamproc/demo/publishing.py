"""Publishing a simulation at a steady rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from streamproc.demo.simulation import Simulated, Simulation
from streamproc.publisher.concurrent import Client, SegmentPublisher, deliver
from streamproc.publisher.delivery import address_of
from streamproc.publisher.encoding import Encoder, Entry

_TICK_S: Final = 0.1
# What could not be sent for longer than this is not made up for: a burst after an outage is not what a rate means.
_LONGEST_DEBT_S: Final = 1.0


async def run(
    simulation: Simulation,
    client: Client,
    *,
    rate: float,
    until: asyncio.Event,
    on_published: Callable[[Sequence[Simulated]], None],
    prefix: str = "dubbing",
    shards: int = 1,
    retry_for_s: float = 30.0,
) -> None:
    """Publish `rate` new segments a second until `until` is set. `on_published` learns of each confirmed batch.

    End it by `until`, not by cancelling: a batch cut off in the middle has arrived in part, and nobody knows which.

    Raises:
        PublishFailed: Redis did not confirm a batch.
    """
    sender = _Sender(client, prefix, shards, retry_for_s)
    owed, last_s = 0.0, time.monotonic()
    while not await _is_set_within(until, _TICK_S):
        now_s = time.monotonic()
        owed += min(now_s - last_s, _LONGEST_DEBT_S) * rate
        last_s = now_s
        count = int(owed)
        owed -= count
        batch = simulation.batch(time.time_ns() // 1_000_000, count)
        await sender.send(batch)
        on_published(batch)


class _Sender:
    """Well-formed entries take the way of every user, through the publisher; odd ones are sent as they are."""

    def __init__(self, client: Client, prefix: str, shards: int, retry_for_s: float) -> None:
        self._client = client
        self._retry_for_s = retry_for_s
        self._encoder = Encoder(prefix, shards)
        self._publisher = SegmentPublisher(client, prefix=prefix, shards=shards, retry_for_s=retry_for_s)

    async def send(self, batch: Sequence[Simulated]) -> None:
        await self._publisher.publish_many(entry.event for entry in batch if entry.fields is None)
        odd = [
            Entry(self._encoder.stream_of(entry.event["session_id"]), entry.fields)
            for entry in batch
            if entry.fields is not None
        ]
        await deliver(self._client, odd, address=address_of(self._client), retry_for_s=self._retry_for_s)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
