"""A pod: everything one worker process is made of, put together from settings."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

from pymongo.errors import ConnectionFailure, PyMongoError
from redis import exceptions as redis_errors
from redis.exceptions import RedisError

from streamproc.app.condition import Condition
from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.core.live import LiveWindows
from streamproc.metrics import LATENCY_BOUNDS_US, LiveCollector, Metrics
from streamproc.roles.auditor import Auditor
from streamproc.roles.consumer import Consumer
from streamproc.roles.eraser import Eraser, ErasureIncomplete
from streamproc.roles.flusher import Flusher
from streamproc.roles.janitor import Janitor
from streamproc.roles.observer import Observer
from streamproc.stores.mongo.collection import ensure_collection
from streamproc.stores.mongo.erasures import ErasureStore, MeasurementErasure
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.redis.commits import CommitStore
from streamproc.stores.redis.connect import require_supported
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.erasure import ShardErasure
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.windows import WindowStore

logger = logging.getLogger(__name__)

_GOODBYE_S: Final = 1.0
# Well above the longest wait of a reading loop: a block, a backoff, a commit that waits for Redis' answer.
_STUCK_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class ShardRoles:
    """The roles that this pod plays for one shard."""

    shard: Shard
    stream: EntryStream
    consumer: Consumer
    flusher: Flusher
    janitor: Janitor
    observer: Observer


class Pod:
    """One worker process. Making it opens no connection; `prepare_redis` and `prepare_mongodb` do."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.live = LiveWindows(LATENCY_BOUNDS_US)
        self.metrics.registry.register(LiveCollector(self.live))
        self._connections = Connections(settings)
        self.redis = self._server("redis", self._connections.redis_address)
        self.mongodb = self._server("mongodb", self._connections.mongodb_address)
        self._conditions = [self.redis, self.mongodb]
        self._moved_s: dict[int, float] = {}
        self.redis_ready = asyncio.Event()
        self.mongodb_ready = asyncio.Event()
        self._reader = self._connections.reader()
        self._measurements = MeasurementStore(self._connections.database)
        self._erasures = ErasureStore(self._connections.database)
        self.consumer_name = f"{settings.consumer}-{secrets.token_hex(4)}"
        self.shards = [self._roles(shard) for shard in self._connections.shards]
        self.eraser = self._eraser()

    async def prepare_redis(self) -> None:
        """Check server and layout, make stream and group.

        Raises:
            ServerTooOld, LayoutMismatch: this process must not run.
            redis.exceptions.RedisError: try again.
        """
        settings = self.settings
        server = await require_supported(self._connections.redis)
        for roles in self.shards:
            await self.ensure_group(roles)
        self.redis.succeeded()
        self.redis_ready.set()
        logger.info("%s is ready: %d shard(s) of %s", server, settings.shards, settings.prefix)

    async def prepare_mongodb(self) -> None:
        """Check the server, make collection and indexes.

        Raises:
            ServerTooOld, CollectionMismatch: this process must not run.
            pymongo.errors.PyMongoError: try again.
        """
        await ensure_collection(self._connections.database)
        if self.eraser:
            await self._erasures.prepare()
        self.mongodb.succeeded()
        self.mongodb_ready.set()
        logger.info("mongodb is ready: database %s", self.settings.mongodb_database)

    async def ensure_group(self, roles: ShardRoles) -> None:
        """Make a missing stream or group, and say why the ledger began a new epoch.

        The layout is agreed on each time: where the group is missing, Redis may have been emptied.

        Raises:
            LayoutMismatch: this process must not run, or not any more.
            redis.exceptions.RedisError: try again.
        """
        await self._connections.agree_on_layout(roles.shard, create=True)
        if reason := await roles.stream.ensure_group():
            level = logging.WARNING if self.redis_ready.is_set() else logging.INFO
            logger.log(level, "shard %d: stream and group created (%s)", roles.shard.number, reason)

    async def check_layout(self) -> None:
        """For commands that only read. Raises LayoutMismatch, redis.exceptions.RedisError."""
        await self._connections.check_layout()

    async def check_erasure_key(self) -> None:
        """For commands that erase. Raises LayoutMismatch, redis.exceptions.RedisError."""
        await self.check_layout()
        for roles in self.shards:
            await roles.shard.require_erasure_key()

    async def ping_mongodb(self) -> None:
        """Raises pymongo.errors.PyMongoError where MongoDB is away."""
        await self._connections.mongodb.admin.command("ping")
        self.mongodb.succeeded()

    def activity(self, name: str) -> Condition:
        """A condition of readiness: that this activity succeeds."""
        condition = Condition(name)
        self._conditions.append(condition)
        return condition

    def moved(self, shard: int) -> None:
        """The reading loop of a shard has come round."""
        self._moved_s[shard] = time.monotonic()

    @property
    def troubles(self) -> list[str]:
        """What keeps this pod from being ready, for people; empty where it is ready."""
        now_s = time.monotonic()
        stuck = [
            f"reading of shard {shard} has not come round for {now_s - moved_s:.0f} s"
            for shard, moved_s in self._moved_s.items()
            if now_s - moved_s > _STUCK_S
        ]
        return [condition.trouble for condition in self._conditions if not condition.holds] + stuck

    def blame(self, activity: Condition, error: RedisError | PyMongoError | ErasureIncomplete) -> float:
        """Put trouble down to the server that is away, or else to what it refused. Returns how long to wait, in s."""
        if isinstance(error, (redis_errors.ConnectionError, redis_errors.TimeoutError)):
            condition = self.redis
        elif isinstance(error, ConnectionFailure):
            condition = self.mongodb
        else:
            condition = activity
        condition.failed(error)
        return condition.delay_s

    def auditors(self) -> list[Auditor]:
        """An auditor for each shard."""
        windowing = self.settings.windowing
        return [Auditor(roles.shard, WindowStore(roles.shard, windowing), self._measurements) for roles in self.shards]

    async def close(self) -> None:
        """Leave the groups and close all connections. Safe to call twice, and soon over where a server is away."""
        if self.redis_ready.is_set() and self.redis.holds:
            for roles in self.shards:
                await _soon(self.redis, roles.stream.retire(0, only_self=True))
        await _soon(self.redis, self._reader.aclose())
        await _soon(self.redis, self._connections.redis.aclose())
        await _soon(self.mongodb, self._connections.mongodb.close())

    def _eraser(self) -> Eraser | None:
        """None without an erasure key: then nobody can be erased."""
        settings = self.settings
        key = self.shards[0].shard.erasure_key
        if key is None:
            return None
        return Eraser(
            [ShardErasure(roles.shard, settings.windowing) for roles in self.shards],
            [MeasurementErasure(self._measurements)],
            self._erasures,
            key,
            settings.windowing,
            self.metrics,
            settings.erase_policy,
        )

    def _server(self, name: str, address: str) -> Condition:
        condition = Condition(f"{name} at {address}", trouble=f"{name} at {address} has not answered yet")
        condition.show_in(self.metrics.dependency_up.labels(name))
        return condition

    def _roles(self, shard: Shard) -> ShardRoles:
        settings, metrics, windowing = self.settings, self.metrics, self.settings.windowing
        stream = EntryStream(shard, self._reader, self.consumer_name)
        windows = WindowStore(shard, windowing)
        return ShardRoles(
            shard=shard,
            stream=stream,
            consumer=Consumer(
                stream,
                CommitStore(shard, windowing, max_entries=settings.commit_max_events),
                windowing,
                self.live,
                metrics,
                settings.consume_policy,
                shard=shard.number,
                shards=settings.shards,
            ),
            flusher=Flusher(windows, self._measurements, windowing, metrics, settings.flush_policy),
            janitor=Janitor(stream, windows, self._measurements, windowing, metrics, settings.keep_policy),
            observer=Observer(shard, metrics),
        )


async def _soon(server: Condition, goodbye: Awaitable[Any]) -> None:
    """Wait for a goodbye, but not for long: janitors remove an idle consumer, connections end by themselves."""
    try:
        async with asyncio.timeout(_GOODBYE_S):
            await goodbye
    except (RedisError, PyMongoError, TimeoutError) as error:
        logger.warning("%s: left without a goodbye: %s %s", server.what, type(error).__name__, error)
