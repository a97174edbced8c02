"""A stock of data at the mission's scale: 1000 sessions on 50 channels, stored hours of many days, two hours in detail.

It is written as the roles would leave it, without going through them: measurements folded from simulated segments
(of a pool, so that loading a month takes minutes and not hours), windows with their indexes in Redis. The present hour
is full, too, 240 segments a window, which it is in its last minute: the worst moment to ask.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from streamproc.core import details
from streamproc.core.details import Detail
from streamproc.core.fold import Measurement, fold
from streamproc.core.windows import Windowing, WindowKey
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.redis.keys import ShardKeys

HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * HOUR_MS
_SEGMENT_MS: Final = 15_000
SEGMENTS: Final = HOUR_MS // _SEGMENT_MS
_POOL: Final = 300
_WINDOWING: Final = Windowing()
_KEYS: Final = ShardKeys("dubbing", 0)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much there is. A viewer has one session a day, on one channel, all day long."""

    days: int = 30
    sessions: int = 1000
    channels: int = 50

    def channel(self, number: int) -> str:
        return f"channel-{number % self.channels:02d}"

    def user(self, number: int) -> str:
        return f"user-{number % self.sessions:04d}"

    def session(self, number: int, start_ms: int) -> str:
        return f"session-{start_ms // _DAY_MS}-{number % self.sessions:04d}"

    def windows(self, start_ms: int, users: int | None = None) -> list[WindowKey]:
        """All windows of one hour, or those of so many users."""
        return [
            WindowKey(start_ms, self.channel(number), self.session(number, start_ms), self.user(number))
            for number in range(self.sessions if users is None else users)
        ]


class _Folded(NamedTuple):
    segments: dict[str, Detail]
    measurement: Measurement


class Stock:
    """Writes the stock to an empty Redis and an empty database."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        rng = random.Random(1)
        self._pool = [_folded(rng) for _ in range(_POOL)]
        self._documents = [one.measurement.document(write=0) for one in self._pool]

    async def store(self, database: AsyncDatabase[Any], starts_ms: Iterable[int], users: int | None = None) -> int:
        """Store these hours, of so many users (None: all). Returns how many measurements they are."""
        stored = 0
        for start_ms in starts_ms:
            documents = [self.document(key) for key in self.scale.windows(start_ms, users)]
            await database[COLLECTION].insert_many(documents, ordered=False)
            stored += len(documents)
        return stored

    async def keep(self, client: Redis, now_ms: int) -> int:
        """Two hours in detail: the last one closed, the present one open. Returns how many segments."""
        this_hour_ms = _WINDOWING.start_of(now_ms)
        for start_ms, zset in ((this_hour_ms - HOUR_MS, _KEYS.closed), (this_hour_ms, _KEYS.open)):
            for key in self.scale.windows(start_ms):
                await self._keep(client, key, zset, now_ms)
        return 2 * self.scale.sessions * SEGMENTS

    async def add(self, client: Redis, key: WindowKey, segment_id: str, now_ms: int) -> None:
        """One more segment of a window that is there."""
        (one,) = details.encode_all([_at(self._of(key).segments["segment-00000"], now_ms)])
        await client.hset(_KEYS.segments(_WINDOWING.name(key)), segment_id, one)

    async def _keep(self, client: Redis, key: WindowKey, zset: str, now_ms: int) -> None:
        name = _WINDOWING.name(key)
        keys = _KEYS.window(name)
        last_ms = min(now_ms, key.start_ms + HOUR_MS - 1)
        segments = self._of(key).segments
        dated = [
            _at(detail, max(key.start_ms, last_ms - age * _SEGMENT_MS)) for age, detail in enumerate(segments.values())
        ]
        values: Any = dict(zip(segments, details.encode_all(dated), strict=True))
        pipeline = client.pipeline(transaction=False)
        pipeline.hset(keys.segments, mapping=values)
        pipeline.sadd(keys.channel, name)
        pipeline.zadd(keys.user, {name: key.start_ms})
        pipeline.zadd(zset, {name: _WINDOWING.forgettable_at(key.start_ms)})
        await pipeline.execute()

    def document(self, key: WindowKey, pick: int | None = None) -> dict[str, Any]:
        """The measurement of a window; `pick` chooses from the pool, where that is not left to the window."""
        document = self._documents[(hash(key) if pick is None else pick) % _POOL]
        start = datetime.fromtimestamp(key.start_ms / 1000, UTC)
        identity = {"channel_id": key.channel_id, "session_id": key.session_id, "user_id": key.user_id, "hour": start}
        return {
            **document,
            "timestamp": start,
            "metadata": {**document["metadata"], **identity, "write": key.start_ms << 20},
            "first_segment_at": start,
            "last_segment_at": start + timedelta(milliseconds=HOUR_MS - 1),
        }

    def _of(self, key: WindowKey) -> _Folded:
        return self._pool[hash(key) % _POOL]


def _folded(rng: random.Random) -> _Folded:
    segments = {f"segment-{number:05d}": _simulated(rng) for number in range(SEGMENTS)}
    return _Folded(segments, fold(WindowKey(0, "c", "s", "u"), segments))


def _simulated(rng: random.Random) -> Detail:
    extraction, dubbing, reinsertion = (
        round(rng.lognormvariate(0, 0.25) * median_us) for median_us in (45_000, 1_100_000, 55_000)
    )
    return Detail(
        received_at_us=0,
        extraction_us=extraction,
        dubbing_us=dubbing,
        reinsertion_us=reinsertion,
        total_us=extraction + dubbing + reinsertion,
        original_bytes=rng.randrange(1_500_000, 2_500_000),
        dubbed_bytes=rng.randrange(1_500_000, 2_500_000),
        source_language="he",
        target_language=rng.choice(("en", "ru")),
        error="dubbing model timed out" if rng.random() < 0.01 else "",
        retry_count=int(rng.random() < 0.02),
    )


def _at(detail: Detail, received_at_ms: int) -> Detail:
    values = {name: getattr(detail, name) for name in Detail.__struct_fields__}
    return Detail(**{**values, "received_at_us": received_at_ms * 1000})
