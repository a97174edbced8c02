"""A pod: everything one worker process is made of, put together from settings."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass

from pymongo.errors import ConnectionFailure, PyMongoError
from redis import exceptions as redis_errors
from redis.exceptions import RedisError

from streamproc.app.condition import Condition
from streamproc.app.settings import Settings
from streamproc.core.live import LiveWindows
from streamproc.metrics import LATENCY_BOUNDS_US, LiveCollector, Metrics
from streamproc.roles.auditor import Auditor
from streamproc.roles.consumer import Consumer
from streamproc.roles.flusher import Flusher
from streamproc.roles.janitor import Janitor
from streamproc.roles.observer import Observer
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.mongo.collection import ensure_collection
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.redis import connect as redis
from streamproc.stores.redis.commits import CommitStore
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.windows import WindowStore

logger = logging.getLogger(__name__)


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
        redis_url = settings.redis_url.get_secret_value()
        mongodb_url = settings.mongodb_url.get_secret_value()
        self.redis = self._server("redis", redis.describe(redis_url))
        self.mongodb = self._server("mongodb", mongo.describe(mongodb_url))
        self._conditions = [self.redis, self.mongodb]
        self.redis_ready = asyncio.Event()
        self.mongodb_ready = asyncio.Event()
        self._commands = redis.connect(redis_url, cluster=settings.redis_cluster)
        self._reader = redis.connect(redis_url, cluster=settings.redis_cluster)
        self._mongo_client = mongo.connect(mongodb_url, app_name="streamproc")
        self._database = self._mongo_client[settings.mongodb_database]
        self._measurements = MeasurementStore(self._database)
        self.consumer_name = f"{settings.consumer}-{secrets.token_hex(4)}"
        self.shards = [self._roles(number) for number in range(settings.shards)]

    async def prepare_redis(self) -> None:
        """Check server and layout, make stream and group.

        Raises:
            ServerTooOld, LayoutMismatch: this process must not run.
            redis.exceptions.RedisError: try again.
        """
        settings = self.settings
        server = await redis.require_supported(self._commands)
        for roles in self.shards:
            await roles.shard.agree_on_layout(shards=settings.shards, window_ms=settings.windowing.length_ms)
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
        await ensure_collection(self._database)
        self.mongodb.succeeded()
        self.mongodb_ready.set()
        logger.info("mongodb is ready: database %s", self.settings.mongodb_database)

    async def ensure_group(self, roles: ShardRoles) -> None:
        """Make a missing stream or group, and say why the ledger began a new epoch."""
        if reason := await roles.stream.ensure_group():
            level = logging.INFO if reason == "first start" else logging.WARNING
            logger.log(level, "shard %d: stream and group created (%s)", roles.shard.number, reason)

    async def ping_mongodb(self) -> None:
        """Raises pymongo.errors.PyMongoError where MongoDB is away."""
        await self._mongo_client.admin.command("ping")
        self.mongodb.succeeded()

    def activity(self, name: str) -> Condition:
        """A condition of readiness: that this activity succeeds."""
        condition = Condition(name)
        self._conditions.append(condition)
        return condition

    @property
    def troubles(self) -> list[str]:
        """What keeps this pod from being ready, for people; empty where it is ready."""
        return [condition.trouble for condition in self._conditions if not condition.holds]

    def blame(self, activity: Condition, error: RedisError | PyMongoError) -> float:
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
        """Leave the groups and close all connections. Safe to call twice."""
        if self.redis_ready.is_set() and self.redis.holds:
            for roles in self.shards:
                await roles.stream.retire(0, only_self=True)
        await self._reader.aclose()
        await self._commands.aclose()
        await self._mongo_client.close()

    def _server(self, name: str, address: str) -> Condition:
        condition = Condition(f"{name} at {address}", trouble=f"{name} at {address} has not answered yet")
        condition.show_in(self.metrics.dependency_up.labels(name))
        return condition

    def _roles(self, number: int) -> ShardRoles:
        settings, metrics, windowing = self.settings, self.metrics, self.settings.windowing
        shard = Shard(
            self._commands,
            number=number,
            prefix=settings.prefix,
            group=settings.group,
            erasure_key=settings.erasure_key.get_secret_value(),
        )
        stream = EntryStream(shard, self._reader, self.consumer_name)
        windows = WindowStore(shard, windowing)
        return ShardRoles(
            shard=shard,
            stream=stream,
            consumer=Consumer(
                stream,
                CommitStore(shard, windowing),
                windowing,
                self.live,
                metrics,
                settings.consume_policy,
                shard=number,
                shards=settings.shards,
            ),
            flusher=Flusher(windows, self._measurements, windowing, metrics, settings.flush_policy),
            janitor=Janitor(stream, windows, self._measurements, windowing, metrics, settings.keep_policy),
            observer=Observer(shard, metrics),
        )
