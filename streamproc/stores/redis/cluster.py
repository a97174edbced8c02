"""A Redis Cluster: for each slot a plain client, whose connections lead to the master that has the slot.

All keys of a shard are in one slot, so a shard is served by one node at a time, and its client does there what it does
with a single server: the same pipelines on one connection, the same time, no command repeated out of sight. When a
connection is made, some node is asked which master has the slot. When a node says that it does not have it any more, or
not now, the connection is closed and `SlotUnserved` raised, a kind of lost connection: whoever tries again, as all do
here, is led to where the slot is then.

redis-py's own client for clusters is not used. It sends commands without a key to any node, TIME among them; asks one
node about the keys of each XREADGROUP, and fails for good when that one is gone; drops batches that were delivered by
repeating; and does not know a node that has no slot yet, which is where the first slot of a new node goes (seen with
8.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Self

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException
from redis.exceptions import TimeoutError as RedisTimeoutError

from streamproc.stores.redis.nodes import UNSERVED, Address, Nodes, slot_of, unreached, unserved
from streamproc.stores.redis.packing import PackingConnection, PackingTLSConnection

_AWAY: Final = (RedisConnectionError, RedisTimeoutError)


class _Following(Connection):
    """Leads to the master that has a slot, whichever that is when the connection is made."""

    def __init__(self, *, directory: _Directory, slot: int, **options: Any) -> None:
        super().__init__(**options)
        self._directory = directory
        self._slot = slot

    async def connect_check_health(self, *args: Any, **options: Any) -> None:
        if not self.is_connected:
            self.host, self.port = await self._directory.master_of(self._slot)
        try:
            await super().connect_check_health(*args, **options)
        except _AWAY as error:
            raise unreached(error, self.host, self.port) from error

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except UNSERVED as error:
            await self.disconnect()
            raise unserved(error) from None


class _FollowingConnection(_Following, PackingConnection):
    pass


class _FollowingTLSConnection(_Following, PackingTLSConnection):
    pass


class _Directory:
    """Tells where slots are, by asking a node."""

    def __init__(self, seed: Address, connect: Callable[[Address], Connection]) -> None:
        self._nodes = Nodes(seed)
        self._connect = connect

    async def master_of(self, slot: int) -> Address:
        """Raises redis.exceptions.RedisError, SlotUnserved among them."""
        await self._look()
        return self._nodes.master_of(slot)

    async def masters(self) -> dict[Address, int]:
        """Each with a slot that it has. Raises redis.exceptions.RedisError."""
        await self._look()
        return self._nodes.masters

    async def _look(self) -> None:
        trouble: Exception | None = None
        for address in self._nodes.in_turn():
            try:
                self._nodes.learn(address, await self._ask(address))
            except _AWAY as error:
                trouble = error
            else:
                return
        if trouble:
            raise trouble

    async def _ask(self, address: Address) -> Any:
        connection = self._connect(address)
        try:
            await connection.connect()
            await connection.send_command("CLUSTER", "SLOTS")
            return await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)


class Cluster:
    """Clients of a cluster. Making it connects to no node.

    Args:
        url: of any node.
        prepare: what is done to each client.
        options: of connections.

    Raises:
        redis.exceptions.RedisClusterException: the URL is that of a socket.
    """

    def __init__(self, url: str, *, prepare: Callable[[Redis], Redis], **options: Any) -> None:
        given: dict[str, Any] = dict(parse_url(url))
        if "path" in given:
            raise RedisClusterException("a cluster is not reached by a socket: the URL must name a host")
        tls = given.pop("connection_class", None) is SSLConnection
        single: type[Connection] = PackingTLSConnection if tls else PackingConnection
        self._following: type[_Following] = _FollowingTLSConnection if tls else _FollowingConnection
        seed = Address(given.pop("host", "localhost"), given.pop("port", 6379))
        self._options = {**options, **given}
        self._prepare = prepare
        self._directory = _Directory(seed, lambda node: single(**self._options, **node._asdict()))
        self._clients: dict[int, Redis] = {}

    def of(self, key: str) -> Redis:
        """The client of the master that has this key; the same for all keys of a slot."""
        return self._of(slot_of(key))

    async def masters(self) -> dict[str, Redis]:
        """A client of each master that has slots, by its address. Raises redis.exceptions.RedisError."""
        return {str(address): self._of(slot) for address, slot in (await self._directory.masters()).items()}

    async def ping(self) -> bool:
        """Whether all masters answer. Raises redis.exceptions.RedisError."""
        return all([await master.ping() for master in (await self.masters()).values()])

    async def aclose(self) -> None:
        """Safe to call twice."""
        for client in self._clients.values():
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _of(self, slot: int) -> Redis:
        if slot not in self._clients:
            pool = ConnectionPool(
                connection_class=self._following, directory=self._directory, slot=slot, **self._options
            )
            self._clients[slot] = self._prepare(Redis.from_pool(pool))
        return self._clients[slot]
