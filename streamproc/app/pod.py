"""A pod: everything one worker process is made of, put together from settings."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo.errors import ConnectionFailure
from redis import exceptions as redis_errors

from streamproc.app.archive_watch import ArchiveWatch
from streamproc.app.archiving import make_archiving
from streamproc.app.condition import Condition
from streamproc.app.connections import Connections
from streamproc.app.erasing import make_eraser, require_erasure_key
from streamproc.app.explain import SERVER_FAILURES, explain
from streamproc.app.keeping import make_session_keeper
from streamproc.app.settings import Settings
from streamproc.core.live import LiveWindows
from streamproc.metrics import LATENCY_BOUNDS_US, LIMITING_SETTINGS, LiveCollector, Metrics
from streamproc.roles.consumer import Consumer
from streamproc.roles.flusher import Flusher
from streamproc.roles.janitor import Janitor
from streamproc.roles.observer import Observer
from streamproc.roles.server_observer import ServerObserver
from streamproc.roles.session_keeper import SessionKeeper
from streamproc.stores.mongo.collection import ensure_collection
from streamproc.stores.mongo.erasures import ErasureStore
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.redis.behind import BehindSessions
from streamproc.stores.redis.commits import CommitStore
from streamproc.stores.redis.connect import require_no_eviction, require_supported
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.presence import PresenceStore
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.windows import WindowStore

logger = logging.getLogger(__name__)

_GOODBYE_S: Final = 1.0
# Well above the longest wait of a reading loop: a block, a backoff, a commit that waits for Redis' answer.
_STUCK_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class ShardRoles:
    """The roles that this pod plays for one shard.

    Attributes:
        server: that the Redis which the shard is on answers.
        session_keeper: None where no session documents are kept.
    """

    shard: Shard
    server: Condition
    stream: EntryStream
    consumer: Consumer
    flusher: Flusher
    janitor: Janitor
    observer: Observer
    server_observer: ServerObserver
    session_keeper: SessionKeeper | None


class Pod:
    """One worker process. Making it opens no connection; `prepare_redis` and `prepare_mongodb` do.

    Making it raises LibraryMissing where there is an ARCHIVE_URL and no library for it.
    """

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
        self.started_at_ms = time.time_ns() // 1_000_000
        self.presence = PresenceStore(self._connections.shards[0])
        self._redis_of = self._servers_of(self._connections.shards)
        self.shards = [self._roles(shard) for shard in self._connections.shards]
        archiving = make_archiving(self._connections)
        self.archive_watch = ArchiveWatch(archiving.inspector, self.metrics) if archiving else None
        self.eraser = make_eraser(self._connections, self.metrics)
        self.metrics.ready.set_function(lambda: not self.troubles)
        for name in LIMITING_SETTINGS:
            self.metrics.setting_seconds.labels(name).set(getattr(settings, f"{name}_seconds"))

    async def prepare_redis(self) -> None:
        """Check server and layout, make stream and group.

        Raises:
            ServerTooOld, LayoutMismatch: this process must not run.
            redis.exceptions.RedisError: try again.
        """
        server = await require_supported(self._connections.redis)
        await require_no_eviction(self._connections.redis)
        for roles in self.shards:
            await self.ensure_group(roles)
        self.redis.succeeded()
        self.redis_ready.set()
        logger.info("%s is ready (%s)", self.redis.what, server)

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
        logger.info("%s is ready: database %s", self.mongodb.what, self.settings.mongodb_database)

    async def ensure_group(self, roles: ShardRoles) -> None:
        """Make a missing stream or group, and say why the ledger began a new epoch.

        The layout is agreed on each time: where the group is missing, Redis may have been emptied.

        Raises:
            LayoutMismatch: this process must not run, or not any more.
            redis.exceptions.RedisError: try again.
        """
        await self._connections.agree_on_layout(roles.shard, create=True)
        if reason := await roles.stream.ensure_group():
            _say_created(roles.shard, reason)

    async def check_layout(self) -> None:
        """For commands that only read. Raises LayoutMismatch, redis.exceptions.RedisError."""
        await self._connections.check_layout()

    async def check_erasure_key(self) -> None:
        """For commands that erase. Raises LayoutMismatch, redis.exceptions.RedisError."""
        await require_erasure_key(self._connections)

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

    def blame(self, activity: Condition, error: Exception, redis: Condition) -> float:
        """Put trouble down to the server that is away, or else to what it refused. Returns how long to wait, in s.

        Args:
            redis: that of the shard that the activity is about.
        """
        if isinstance(
            error, (redis_errors.ConnectionError, redis_errors.TimeoutError, redis_errors.RedisClusterException)
        ):
            condition = redis
        elif isinstance(error, ConnectionFailure):
            condition = self.mongodb
        else:
            condition = activity
        condition.failed(error)
        return condition.delay_s

    async def close(self) -> None:
        """Leave the groups and close all connections. Safe to call twice, and soon over where a server is away."""
        if self.redis_ready.is_set():
            if self.shards[0].server.holds:
                await _soon(self.redis, self.presence.leave(self.consumer_name))
            for roles in self.shards:
                if roles.server.holds:
                    await _soon(roles.server, roles.stream.retire(0, only_self=True))
        await _soon(self.redis, self._reader.aclose())
        await _soon(self.redis, self._connections.redis.aclose())
        await _soon(self.mongodb, self._connections.mongodb.close())

    def _server(self, name: str, address: str) -> Condition:
        condition = Condition(f"{name} at {address}", trouble=f"{name} at {address} has not answered yet")
        condition.show_in(self.metrics.dependency_up.labels(name))
        return condition

    def _servers_of(self, shards: Sequence[Shard]) -> list[Condition]:
        """A condition for each shard: in a cluster each may be on a server of its own."""
        if not self.settings.redis_cluster:
            return [self.redis for _ in shards]
        conditions = [Condition(f"{self.redis.what}, shard {shard.number}") for shard in shards]
        for condition in conditions:
            condition.show_in(self.metrics.dependency_up.labels("redis"), [self.redis, *conditions])
        self._conditions += conditions
        return conditions

    def _roles(self, shard: Shard) -> ShardRoles:
        settings, metrics, windowing = self.settings, self.metrics, self.settings.windowing
        stream = EntryStream(shard, self._reader, self.consumer_name)
        windows = WindowStore(shard, windowing)
        behind = BehindSessions(shard) if settings.sessions_enabled else None
        return ShardRoles(
            shard=shard,
            server=self._redis_of[shard.number],
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
            flusher=Flusher(windows, self._measurements, windowing, metrics, settings.flush_policy, behind),
            janitor=Janitor(stream, windows, self._measurements, windowing, metrics, settings.keep_policy),
            observer=Observer(shard, metrics),
            server_observer=ServerObserver(shard, metrics),
            session_keeper=make_session_keeper(self._connections, shard, metrics) if behind else None,
        )


def _say_created(shard: Shard, reason: str) -> None:
    if reason == "first start":
        logger.info("shard %d: stream and group made", shard.number)
        return
    words = (
        "shard %d: %s, so both were made again, and a new ledger began: Redis lost data, or somebody deleted it. What "
        "is still there is counted; `streamproc audit` says whether stored hours differ"
    )
    logger.warning(words, shard.number, reason)


async def _soon(server: Condition, goodbye: Awaitable[Any]) -> None:
    """Wait for a goodbye, but not for long: janitors remove an idle consumer, connections end by themselves."""
    try:
        async with asyncio.timeout(_GOODBYE_S):
            await goodbye
    except (*SERVER_FAILURES, TimeoutError) as error:
        why = f"no answer within {_GOODBYE_S:g} s" if isinstance(error, TimeoutError) else explain(error).cause
        logger.warning("%s: left without a goodbye: %s", server.what, why)
