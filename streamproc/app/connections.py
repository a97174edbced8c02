"""The clients of both servers, and the shards, as the settings name them: what every process begins with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.monitoring import CommandListener
from redis.asyncio import Redis

from streamproc.app.settings import Settings
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.redis import connect as redis
from streamproc.stores.redis.connect import AnyRedis
from streamproc.stores.redis.shard import Shard


class Connections:
    """Clients that connect when first used, so that making this fails for no server that is away.

    Args:
        database, client: a caller's own, of MongoDB and of Redis, to be used instead of what the settings name. They
            stay the caller's to close.
        mongodb_listeners: hear of every command that is sent to the MongoDB that the settings name.

    Raises:
        ValueError: one of these cannot be used; the message says what to do.

    Attributes:
        redis: for short commands and scripts; a blocking read needs a client of its own, from `reader`.
        redis_address, mongodb_address: for messages, without user and password.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database: AsyncDatabase[dict[str, Any]] | None = None,
        client: Redis | None = None,
        mongodb_listeners: Sequence[CommandListener] = (),
    ) -> None:
        self.settings = settings
        self._redis_url = settings.redis_url.get_secret_value()
        mongodb_url = settings.mongodb_url.get_secret_value()
        self.redis_address = redis.describe(self._redis_url)
        self.mongodb_address = mongo.describe(mongodb_url)
        self.redis = (
            redis.connect(self._redis_url, cluster=settings.redis_cluster) if client is None else redis.like(client)
        )
        self.mongodb = mongo.connect(mongodb_url, app_name="streamproc", listeners=mongodb_listeners)
        own = self.mongodb[settings.mongodb_database]
        self.database: AsyncDatabase[dict[str, Any]] = own if database is None else mongo.durable(database)
        self.shards = [self._shard(number) for number in range(settings.shards)]

    def reader(self) -> AnyRedis:
        """Another client of Redis, the caller's to close."""
        return redis.connect(self._redis_url, cluster=self.settings.redis_cluster)

    async def agree_on_layout(self, shard: Shard, *, create: bool) -> None:
        """Raises LayoutMismatch, redis.exceptions.RedisError."""
        settings = self.settings
        await shard.agree_on_layout(shards=settings.shards, window_ms=settings.windowing.length_ms, create=create)

    async def check_layout(self) -> None:
        """For processes that only read. Raises LayoutMismatch, redis.exceptions.RedisError."""
        for shard in self.shards:
            await self.agree_on_layout(shard, create=False)

    async def check_mongodb(self) -> None:
        """That MongoDB answers and lets us read. Raises pymongo.errors.PyMongoError."""
        await self.database[COLLECTION].find_one({}, {"_id": True})

    async def close(self) -> None:
        """Safe to call twice."""
        await self.redis.aclose()
        await self.mongodb.close()

    def _shard(self, number: int) -> Shard:
        settings = self.settings
        return Shard(
            self.redis,
            number=number,
            prefix=settings.prefix,
            group=settings.group,
            erasure_key=settings.erasure_key.get_secret_value(),
        )
