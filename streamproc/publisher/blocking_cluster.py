"""`stores.redis.cluster` for plain threads, as far as publishing needs it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from redis import ConnectionPool, Redis
from redis.connection import Connection, SSLConnection, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException
from redis.exceptions import TimeoutError as RedisTimeoutError

from streamproc.stores.redis.nodes import UNSERVED, Address, Nodes, slot_of, unserved

_AWAY: Final = (RedisConnectionError, RedisTimeoutError)


class _Following(Connection):
    """Leads to the master that has a slot, whichever that is when the connection is made."""

    def __init__(self, *, directory: _Directory, slot: int, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._directory = directory
        self._slot = slot

    def _connect(self) -> Any:
        self.host, self.port = self._directory.master_of(self._slot)
        return super()._connect()  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except UNSERVED as error:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise unserved(error) from None


class _FollowingTLS(_Following, SSLConnection):
    pass


class _Directory:
    """Tells where slots are, by asking a node."""

    def __init__(self, seed: Address, connect: Callable[[Address], Connection]) -> None:
        self._nodes = Nodes(seed)
        self._connect = connect
        self._one_at_a_time = threading.Lock()

    def master_of(self, slot: int) -> Address:
        """Raises redis.exceptions.RedisError, SlotUnserved among them."""
        with self._one_at_a_time:
            self._look()
            return self._nodes.master_of(slot)

    def _look(self) -> None:
        trouble: Exception | None = None
        for address in self._nodes.in_turn():
            try:
                self._nodes.learn(address, self._ask(address))
            except _AWAY as error:
                trouble = error
            else:
                return
        if trouble:
            raise trouble

    def _ask(self, address: Address) -> Any:
        connection = self._connect(address)
        try:
            connection.connect()
            connection.send_command("CLUSTER", "SLOTS")
            return connection.read_response()
        finally:
            connection.disconnect()


class BlockingCluster:
    """Clients of a cluster. Making it connects to no node. Threads may share it.

    Args:
        url: of any node.
        options: of connections.

    Raises:
        redis.exceptions.RedisClusterException: the URL is that of a socket.
    """

    def __init__(self, url: str, **options: Any) -> None:
        given = dict(parse_url(url))
        if "path" in given:
            raise RedisClusterException("a cluster is not reached by a socket: the URL must name a host")
        single = given.pop("connection_class", Connection)
        self._following = _FollowingTLS if single is SSLConnection else _Following
        seed = Address(given.pop("host", "localhost"), given.pop("port", 6379))
        self._options = {**options, **given}
        self._directory = _Directory(seed, lambda node: single(**self._options, **node._asdict()))
        self._of_slots: dict[int, Redis] = {}
        self._one_at_a_time = threading.Lock()

    def of(self, key: str) -> Redis:
        """The client of the master that has this key; the same for all keys of a slot."""
        slot = slot_of(key)
        with self._one_at_a_time:
            if slot not in self._of_slots:
                pool = ConnectionPool(
                    connection_class=self._following, directory=self._directory, slot=slot, **self._options
                )
                self._of_slots[slot] = Redis.from_pool(pool)
            return self._of_slots[slot]

    def close(self) -> None:
        """Safe to call twice."""
        for client in self._of_slots.values():
            client.close()
