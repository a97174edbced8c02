"""One shard: its client, its keys, its group, and what its pods agreed on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from redis.asyncio import Redis

from streamproc.core.erasure_key import ErasureKey
from streamproc.stores.redis import scripts
from streamproc.stores.redis.cluster import Cluster
from streamproc.stores.redis.connect import AnyRedis
from streamproc.stores.redis.keys import ShardKeys
from streamproc.stores.redis.scripts import Script

FORMAT_VERSION = 1


class LayoutMismatch(RuntimeError):
    """This pod's settings differ from those the stored data was made with. The message says which and what to do."""


class Shard:
    """What every store of one shard needs.

    Args:
        redis: for short commands and scripts.
        prefix: first part of every key.
        group: the consumer group.
        erasure_key: keys the hash by which an erased user is recognised; without it nobody is recognised.

    Attributes:
        client: leads to the server that the shard is on.
    """

    def __init__(
        self,
        redis: AnyRedis,
        *,
        number: int = 0,
        prefix: str = "dubbing",
        group: str = "streamproc",
        erasure_key: str = "",
    ) -> None:
        self._redis = redis
        self.number = number
        self.prefix = prefix
        self.group = group
        self.keys = ShardKeys(prefix, number)
        self.client = self.led_by(redis)
        self.erasure_key = ErasureKey(erasure_key) if erasure_key else None
        # The same users come again and again: an HMAC costs a microsecond, a look-up a tenth of it.
        self.user_hash = lru_cache(maxsize=100_000)(self._hash_user)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script on this shard. Raises redis.exceptions.RedisError."""
        return await script(self.client, keys, args)

    def led_by(self, redis: AnyRedis) -> Redis:
        """The client, from these, that leads to the server that this shard is on."""
        return redis.of(self.keys.stream) if isinstance(redis, Cluster) else redis

    def sibling(self, number: int) -> Shard:
        """Another shard of the same data."""
        return Shard(self._redis, number=number, prefix=self.prefix, group=self.group)

    async def now_ms(self) -> int:
        """The time of the server that the shard is on, as no other tells it. Raises redis.exceptions.RedisError."""
        return int(await self.run(scripts.NOW, [self.keys.stream], []))

    async def agree_on_layout(self, *, shards: int, window_ms: int, create: bool = True) -> None:
        """Write the layout if this is the first pod, else check that it is ours.

        Args:
            create: off, it only reads, which a Redis without memory or disk still admits.

        Raises:
            LayoutMismatch: naming each difference and the remedy.
        """
        ours = {"shards": shards, "window_ms": window_ms, "format_version": FORMAT_VERSION}
        if create:
            flat = [part for item in ours.items() for part in item]
            reply = await self.run(scripts.AGREE_LAYOUT, [self.keys.layout], flat)
        else:
            reply = await self.client.execute_command("HGETALL", self.keys.layout)
        found = {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}
        if not found and not create:
            return
        different = [
            f"{name} is {found.get(name, 'absent')} there and {value} here"
            for name, value in ours.items()
            if found.get(name) != str(value)
        ]
        if different:
            raise LayoutMismatch(
                f"the data under {self.keys.layout} was made with other settings: {'; '.join(different)}. Give this "
                "process the same SHARDS and WINDOW_SECONDS, or use another PREFIX for the new ones: docs/scaling.md "
                "says how to change over"
            )
        if create:
            await self._agree_on_erasure_key()

    async def require_writable(self) -> None:
        """Try what a producer's XADD would meet, on a key that is never there: nothing is added.

        https://redis.io/docs/latest/commands/xadd/ (NOMKSTREAM)

        Raises:
            redis.exceptions.RedisError: no memory, no disk, a replica, or no permission.
        """
        await self.client.execute_command("XADD", f"{self.keys.stream}:nothing", "NOMKSTREAM", "*", "data", "")

    async def require_erasure_key(self) -> None:
        """Check that those who count here recognise whom this process erases.

        Raises:
            LayoutMismatch: they have no erasure key, or another one; the message says what to do.
        """
        if not await self._agree_on_erasure_key(write=False):
            raise LayoutMismatch(
                f"no worker with an ERASURE_KEY has run on the data under {self.keys.layout}, and one without goes on "
                "counting for whoever is erased. Start all workers with the ERASURE_KEY of this process, then try again"
            )

    async def _agree_on_erasure_key(self, *, write: bool = True) -> bool:
        """Whether there is an erasure key in force, and it is ours.

        The first pod that has one writes its fingerprint down. From then on one that has none must not run: it would
        count for those who were erased. Where nobody has a key, nobody needs one.
        """
        ours = self.erasure_key.fingerprint if self.erasure_key else ""
        if write and ours:
            reply = await self.run(scripts.AGREE_KEY, [self.keys.layout], [ours])
        else:
            reply = await self.client.execute_command("HGET", self.keys.layout, "erasure_key")
        theirs = reply.decode() if reply else ""
        if theirs not in ("", ours):
            found = "another ERASURE_KEY" if ours else "no ERASURE_KEY"
            raise LayoutMismatch(
                f"people may have been erased from the data under {self.keys.layout}, and this process has {found}: it "
                "would not recognise them. Give it the ERASURE_KEY of the others"
            )
        return theirs != ""

    def _hash_user(self, user_id: str) -> str:
        return self.erasure_key.hash(user_id) if self.erasure_key else ""
