"""One shard on real servers, and the roles that work on it, in this process and one call at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import redis
from pymongo.asynchronous.database import AsyncDatabase

from streamproc.core.live import LiveWindows
from streamproc.core.windows import Windowing, WindowKey
from streamproc.demo.oracle import Difference, Kind, Oracle
from streamproc.metrics import LATENCY_BOUNDS_US, Metrics
from streamproc.roles.consumer import ConsumePolicy, Consumer
from streamproc.roles.flusher import Flusher, FlushPolicy
from streamproc.roles.janitor import Janitor, KeepPolicy
from streamproc.stores.mongo.collection import COLLECTION, ensure_collection
from streamproc.stores.mongo.connect import connect as connect_mongodb
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.redis.commits import CommitStore
from streamproc.stores.redis.connect import connect as connect_redis
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import Survey, survey
from streamproc.stores.redis.windows import WindowStore

HOUR_MS = 3_600_000
#: A window that ended an hour and more ago: what comes for it is late, and due as soon as it has been counted.
HOUR = datetime.fromtimestamp(time.time() // 3600 * 3600 - 2 * 3600, UTC)
WINDOWING = Windowing(length_ms=HOUR_MS, grace_ms=1, quiet_ms=1)
POLICY = ConsumePolicy(block_ms=0, claim_idle_ms=60_000, poison_deliveries=5)
_PATIENCE_S = 10.0


def segment(name: str, session: str = "s-1", **fields: Any) -> dict[str, Any]:
    """A well-formed segment of the window that starts at HOUR."""
    return {
        "segment_id": name,
        "channel_id": "kan-11",
        "session_id": session,
        "user_id": "dana",
        "received_at": HOUR + timedelta(minutes=5),
        "extraction_ms": 45.25,
        "dubbing_ms": 1100.5,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
        **fields,
    }


def window(session: str = "s-1", start: datetime = HOUR) -> WindowKey:
    """The key of the window that `segment` is in."""
    return WindowKey(int(start.timestamp()) * 1000, "kan-11", session, "dana")


class OneShard:
    """A shard with its stream and group, a database with its collection, and an oracle that hears of every segment."""

    def __init__(self, redis_url: str, database: AsyncDatabase[dict[str, Any]]) -> None:
        self.client = connect_redis(redis_url)
        self.redis: Any = redis.Redis.from_url(redis_url)
        self.database = database
        self.shard = Shard(self.client, erasure_key="key")
        self.keys = self.shard.keys
        self.measurements = MeasurementStore(database)
        self.metrics = Metrics()
        self.oracle = Oracle(HOUR_MS / 1000)

    async def close(self) -> None:
        self.redis.close()
        await self.client.aclose()

    # Roles

    def stream(self, name: str) -> EntryStream:
        return EntryStream(self.shard, self.client, name)

    def consumer(self, name: str = "alice", **policy: Any) -> Consumer:
        live = LiveWindows(LATENCY_BOUNDS_US)
        store = CommitStore(self.shard, WINDOWING)
        return Consumer(self.stream(name), store, WINDOWING, live, self.metrics, replace(POLICY, **policy))

    def windows(self, windowing: Windowing = WINDOWING) -> WindowStore:
        return WindowStore(self.shard, windowing)

    def flusher(
        self,
        *,
        windows: Any = None,
        measurements: Any = None,
        windowing: Windowing = WINDOWING,
        visibility_ms: int = 60_000,
        behind: Any = None,
    ) -> Flusher:
        return Flusher(
            windows or self.windows(windowing),
            measurements or self.measurements,
            windowing,
            self.metrics,
            FlushPolicy(visibility_ms=visibility_ms),
            behind,
        )

    def janitor(self, windowing: Windowing = WINDOWING, **policy: Any) -> Janitor:
        stream, windows = self.stream("janitor"), self.windows(windowing)
        return Janitor(stream, windows, self.measurements, windowing, self.metrics, KeepPolicy(**policy))

    # Acting

    def publish(self, *segments: dict[str, Any]) -> list[str]:
        """Add an entry for each segment. Returns their ids."""
        for one in segments:
            self.oracle.record(Kind.GOOD, one)
        return [self.redis.xadd(self.keys.stream, {"data": orjson.dumps(one)}).decode() for one in segments]

    def publish_names(self, *names: str, session: str = "s-1") -> list[str]:
        return self.publish(*(segment(name, session) for name in names))

    async def count(self, *names: str, session: str = "s-1") -> None:
        """Publish segments of one window, and count them."""
        self.publish_names(*names, session=session)
        await self.consume_all()
        await self.until_due(session)

    async def consume_all(self) -> None:
        consumer = self.consumer()
        while await consumer.run_once():
            pass

    async def until_due(self, session: str = "s-1") -> None:
        """Until Redis' clock has passed the time at which the window is due."""
        name = WINDOWING.name(window(session))
        await until(lambda: self.redis.zscore(self.keys.open, name) <= self.now_ms())

    async def store(self, *names: str, session: str = "s-1") -> None:
        """Publish segments of one window, count and flush them."""
        await self.count(*names, session=session)
        await self.flusher().run_once()

    def now_ms(self) -> int:
        seconds, microseconds = self.redis.time()
        return int(seconds * 1000 + microseconds // 1000)

    # Looking

    async def documents(self, session: str = "s-1") -> list[dict[str, Any]]:
        """The measurements of one session, as they are stored."""
        return [one async for one in self.database[COLLECTION].find({"metadata.session_id": session})]

    async def revisions(self, session: str = "s-1") -> list[int]:
        return [one["metadata"]["revision"] for one in await self.documents(session)]

    async def differences(self) -> list[Difference]:
        """Where MongoDB and what was published differ."""
        return self.oracle.compare([one async for one in self.database[COLLECTION].find()])

    async def seen(self) -> Survey:
        seen = await survey(self.shard)
        assert seen is not None
        return seen

    def set_names(self, key: str) -> list[str]:
        """The sessions whose windows are in `open`, `taken` or `closed`."""
        names = [name.decode() for name in self.redis.zrange(key, 0, -1)]
        return [WINDOWING.parse_name(name).session_id for name in names]

    def segments_key(self, session: str = "s-1") -> str:
        return self.keys.window(WINDOWING.name(window(session))).segments

    def dead(self) -> list[dict[str, str]]:
        return [
            {name.decode(): value.decode() for name, value in fields.items()}
            for _, fields in self.redis.xrange(self.keys.dead)
        ]

    def metric(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(f"streamproc_{name}", labels)
        assert value is not None, f"no sample streamproc_{name} {labels}"
        return value


@asynccontextmanager
async def one_shard(redis_url: str, mongodb_url: str, database_name: str) -> AsyncIterator[OneShard]:
    async with connect_mongodb(mongodb_url, app_name="tests") as client:
        database = client[database_name]
        await ensure_collection(database)
        shard = OneShard(redis_url, database)
        shard.redis.flushall()
        await shard.stream("nobody").ensure_group()
        try:
            yield shard
        finally:
            await shard.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that must come to hold."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_s, "waited in vain"
        await asyncio.sleep(0.002)


class Crash(BaseException):
    """The process is gone: no handler runs. (Handlers of Exception do not see it.)"""


class Failing:
    """A store whose nth call fails, before or after it took effect. Counts calls together with others of its kind.

    Args:
        store: a real one.
        plan: when to fail; shared by the stores of one role.
    """

    def __init__(self, store: Any, plan: FailurePlan) -> None:
        self._store = store
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        async def failing(*args: Any) -> Any:
            self._plan.begin(name)
            answer = await call(*args)
            self._plan.end(name)
            return answer

        return failing


class FailurePlan:
    """Fail at the nth call: 2 n - 1 is before, 2 n after the call took effect. 0: never."""

    def __init__(self, point: int, error: BaseException) -> None:
        self._left = point
        self._error = error
        self.failed_at = ""

    def begin(self, name: str) -> None:
        self._step(f"before {name}")

    def end(self, name: str) -> None:
        self._step(f"after {name}")

    def _step(self, at: str) -> None:
        self._left -= 1
        if self._left == 0:
            self.failed_at = at
            raise self._error
