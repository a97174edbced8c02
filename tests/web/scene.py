"""A system with a past: a week of hours on a few channels, stored by real workers, and segments that come in now.

What came in earlier is published now with the times it would have had; the workers' lateness horizon is wide enough.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from streamproc.app.settings import PREFIX
from streamproc.demo.stage import Web, Worker, settings_of
from streamproc.embedded import EmbeddedServer, start_mongod, start_valkey
from streamproc.publisher import SegmentPublisher
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import survey

CHANNELS: Final = ("kan-11", "keshet-12", "reshet-13", "news:24", "ערוץ-14", "sport-5")
#: Nobody watches it by night: its hours have gaps.
BY_DAY: Final = "sport-5"
_NIGHT: Final = range(1, 6)
_ERRORS: Final = ("dubbing model timed out", "no speech found", "reinsertion failed")
_DAYS: Final = 7
_SETTINGS: Final = {"LATE_HORIZON_SECONDS": f"{10 * 86_400}", "LATE_QUIET_SECONDS": "60", "GRACE_SECONDS": "60"}
_PATIENCE_S: Final = 180.0


@dataclass
class Scene:
    """Servers and processes of one scene."""

    valkey: EmbeddedServer
    mongod: EmbeddedServer
    variables: dict[str, str]
    workers: list[Worker]
    web: Web
    client: Redis
    rng: random.Random

    async def publish(self, *events: dict[str, Any]) -> None:
        await SegmentPublisher(self.client).publish_many(events)

    async def refuse(self, *payloads: str) -> None:
        """Add entries that break a rule."""
        for payload in payloads:
            await self.client.xadd(self.shard.keys.stream, {"data": payload})

    @property
    def shard(self) -> Shard:
        settings = settings_of(self.variables)
        return Shard(self.client, prefix=settings.prefix, group=settings.group)

    async def live(self, seconds: float, rate: float = 60.0) -> None:
        """Segments of this moment, some with an error."""
        began = asyncio.get_running_loop().time()
        while (past := asyncio.get_running_loop().time() - began) < seconds:
            swing = rate * (1 + 0.25 * math.sin(past / 25))
            await self.publish(
                *(
                    _segment(self.rng, self.rng.choice(CHANNELS), datetime.now(UTC), failing=0.03)
                    for _ in range(int(swing / 4 + self.rng.random()))
                )
            )
            await asyncio.sleep(0.25)

    async def late(self, channel: str, *, hours: int = 3) -> None:
        """A segment for a stored hour, which is `revised` for a minute."""
        await self.publish(
            _segment(self.rng, channel, datetime.now(UTC) - timedelta(hours=hours), viewer=0, name="late")
        )

    async def settle(self) -> None:
        """Wait until every entry is counted and every closed window is stored."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                seen = await survey(self.shard)
                if seen and not (seen.lag_entries or seen.pending or await self._closing()):
                    return
                await asyncio.sleep(0.3)

    async def _closing(self) -> int:
        keys, second_from_now = self.shard.keys, int(time.time() + 1) * 1000
        return int(await self.client.zcount(keys.open, "-inf", second_from_now)) + int(
            await self.client.zcard(keys.taken)
        )


@asynccontextmanager
async def scene(*, history: bool = True, workers: int = 2, **settings: str) -> AsyncIterator[Scene]:
    """Servers, a past, two workers and a web process."""
    with start_valkey() as valkey, start_mongod() as mongod:
        given = {"REDIS_URL": valkey.url, "MONGODB_URL": mongod.url, **_SETTINGS, **settings}
        variables = {f"{PREFIX}{name}": value for name, value in given.items()}
        pods = [Worker(number + 1, variables) for number in range(workers)]
        made = Scene(valkey, mongod, variables, pods, Web(variables), connect(valkey.url), random.Random(7))
        try:
            if history:
                await _past(made)
            await asyncio.gather(*(one.start() for one in (*pods, made.web)))
            if history:
                await made.late(CHANNELS[2])
            yield made
        finally:
            await asyncio.gather(*(one.stop() for one in (*made.workers, made.web)), return_exceptions=True)
            await made.client.aclose()


async def _past(made: Scene) -> None:
    """A worker that waits for nothing late stores the week."""
    worker = Worker(0, {**made.variables, f"{PREFIX}LATE_QUIET_SECONDS": "0.5"})
    await worker.start()
    try:
        for events in _hours(made.rng, datetime.now(UTC)):
            await made.publish(*events)
        await made.settle()
    finally:
        await worker.stop()


def _hours(rng: random.Random, now: datetime) -> Iterator[list[dict[str, Any]]]:
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    for back in range(24 * _DAYS, -1, -1):
        hour = this_hour - timedelta(hours=back)
        seconds = (now - hour).total_seconds() if not back else 3600
        yield [event for channel in CHANNELS for event in _hour(rng, channel, hour, seconds, bad=back == 5)]


def _hour(rng: random.Random, channel: str, hour: datetime, seconds: float, *, bad: bool) -> Iterator[dict[str, Any]]:
    if channel == BY_DAY and hour.hour in _NIGHT:
        return
    evening = 1 + math.cos((hour.hour - 20) / 24 * 2 * math.pi)  # 0 in the morning, 2 at eight
    viewers = 1 + round(evening * (1 + CHANNELS.index(channel) % 3) * rng.uniform(0.8, 1.2) / 1.5)
    for viewer in range(viewers):
        for number in range(int(60 * seconds / 3600) + 1):
            at = hour + timedelta(seconds=rng.uniform(0, seconds))
            yield _segment(
                rng,
                channel,
                at,
                viewer=viewer,
                name=f"{hour:%d%H}-{number}",
                slow=1.6 if bad else 1 + evening / 8,
                failing=0.12 if bad else 0.015,
            )


def _segment(
    rng: random.Random,
    channel: str,
    at: datetime,
    *,
    viewer: int | None = None,
    name: str = "",
    slow: float = 1.0,
    failing: float = 0.015,
) -> dict[str, Any]:
    """One segment, in the middle ranges of the mission's figures."""
    viewer = rng.randrange(4) if viewer is None else viewer
    failed = rng.random() < failing
    size = int(2_000_000 * rng.lognormvariate(0, 0.15))
    event = {
        "segment_id": name or f"{at:%H%M%S%f}",
        "channel_id": channel,
        "session_id": f"session-{channel}-{viewer}",
        "user_id": f"user-{channel}-{viewer}",
        "received_at": at,
        "extraction_ms": 45 * rng.lognormvariate(0, 0.25),
        "dubbing_ms": 1100 * slow * rng.lognormvariate(0, 0.25),
        "reinsertion_ms": 55 * rng.lognormvariate(0, 0.25),
        "original_bytes": size,
        "dubbed_bytes": 0 if failed else size,
        "source_language": "he",
        "target_language": ("en", "ru", "ar", "fr")[viewer % 4],
        "platform": ("web", "ios", "android", "tv")[viewer % 4],
        "retry_count": int(failed),
    }
    return {**event, "error": rng.choice(_ERRORS)} if failed else event
