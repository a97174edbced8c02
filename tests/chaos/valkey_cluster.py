"""A Valkey Cluster of real processes on loopback: masters, a replica of each, and what befalls them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Final

import redis

from streamproc.embedded import EmbeddedServer, ServerUnavailable, start_valkey
from streamproc.embedded.servers import _free_port

#: How long a node is silent before the others hold it for dead, and elect its replica.
NODE_TIMEOUT_MS: Final = 2_000
_SLOTS: Final = 16_384
_OPTIONS: Final = (
    *("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
    # While a master is away, the shards of the others go on.
    *("--cluster-require-full-coverage", "no"),
    # A replica whose link was down for long is elected all the same, as there is no other.
    *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
    *("--cluster-allow-replica-migration", "no"),
)
_PATIENCE_S: Final = 30.0
_LOOK_S: Final = 0.05
_PORT_TRIES: Final = 5
_KEYS_AT_ONCE: Final = 10


class Node:
    """One server. Killed and started again it keeps its port, its data and its place in the cluster."""

    def __init__(self, server: EmbeddedServer, bus_port: int) -> None:
        self.server = server
        self.bus_port = bus_port
        self.client: Any = redis.Redis.from_url(server.url, socket_timeout=10)
        self.id: str = self.ask("CLUSTER", "MYID").decode()
        self.runs = True

    def ask(self, *command: Any) -> Any:
        """One command, sent to this very node; the reply as it came."""
        return self.client.execute_command(*command)

    def kill(self) -> None:
        """`kill -9`."""
        self.runs = False
        os.kill(self.server.pid, signal.SIGKILL)

    def restart(self) -> None:
        self.server.restart()
        self.runs = True

    @property
    def is_master(self) -> bool:
        return bool(self.client.info("replication")["role"] == "master")

    @property
    def slots(self) -> int:
        """How many it has."""
        return sum(last - first + 1 for first, last, master, *_ in self.ask("CLUSTER", "SLOTS") if self._is(master))

    def freeze(self) -> None:
        """It neither answers nor ends, until it is thawed."""
        os.kill(self.server.pid, signal.SIGSTOP)
        self.runs = False

    def thaw(self) -> None:
        os.kill(self.server.pid, signal.SIGCONT)
        self.runs = True

    @property
    def is_replicated(self) -> bool:
        """Whether its replica, or its master, is connected to it and has all that it has."""
        told = self.client.info("replication")
        if told["role"] == "master":
            return bool(told["connected_slaves"] and told["slave0"]["state"] == "online")
        return bool(told["master_link_status"] == "up")

    def sees(self, nodes: int) -> bool:
        """Whether it sees so many nodes, none of them failing, and a master for every slot."""
        lines = self.ask("CLUSTER", "NODES").splitlines()
        return len(lines) == nodes and not any(b"fail" in line for line in lines) and self._all_slots_served()

    def _all_slots_served(self) -> bool:
        told = self.ask("CLUSTER", "INFO")
        return b"cluster_state:ok" in told and f"cluster_slots_ok:{_SLOTS}".encode() in told

    def _is(self, told: Sequence[Any]) -> bool:
        return bool(told[1] == self.server.port)


class ValkeyCluster:
    """Masters with all slots in equal parts, and a replica of each where wanted.

    Attributes:
        nodes: masters first, then their replicas in the same order, then masters without slots.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes

    @property
    def running(self) -> list[Node]:
        return [node for node in self.nodes if node.runs]

    @property
    def url(self) -> str:
        """Of a node that runs."""
        return self.running[0].server.url

    def master_of(self, key: str) -> Node:
        """As the first node that runs sees it. Raises LookupError where it sees none."""
        asked = self.running[0]
        slot = asked.ask("CLUSTER", "KEYSLOT", key)
        for first, last, (_host, port, *_), *_replicas in asked.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.server.port == port)
        raise LookupError(f"slot {slot} has no master")

    def replica_of(self, master: Node) -> Node:
        port = int(master.client.info("replication")["slave0"]["port"])
        return next(node for node in self.nodes if node.server.port == port)

    async def another_serves(self, key: str, instead_of: Node) -> None:
        """Wait until another master than this has a key."""
        await until(
            lambda: self.master_of(key) is not instead_of and self.master_of(key).is_master, "another master of a slot"
        )

    async def become_whole(self) -> None:
        """Wait until all see each other, and each master and its replica are connected."""
        await until(lambda: all(node.sees(len(self.nodes)) for node in self.nodes), "all nodes to see each other")
        if not all(node.is_master for node in self.nodes):
            paired = [node for node in self.nodes if not node.is_master or node.slots]
            await until(lambda: all(node.is_replicated for node in paired), "masters and replicas to be connected")

    async def move_slot_at_once(self, key: str, to: Node) -> None:
        """Move a key's slot as a whole, as Valkey 9 can: https://valkey.io/commands/cluster-migrateslots/"""
        source = self.master_of(key)
        slot = source.ask("CLUSTER", "KEYSLOT", key)
        source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", to.id)
        await self.another_serves(key, source)

    async def move_slot(self, key: str, to: Node) -> None:
        """Move a key's slot, key by key, as `redis-cli --cluster reshard` does.

        https://redis.io/docs/latest/commands/cluster-setslot/
        """
        source = self.master_of(key)
        slot = source.ask("CLUSTER", "KEYSLOT", key)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, _KEYS_AT_ONCE):
            source.ask("MIGRATE", "127.0.0.1", to.server.port, "", 0, 5000, "KEYS", *keys)
            await asyncio.sleep(0)  # what goes on meanwhile is the point
        masters = [node for node in self.running if node.is_master and node not in {to, source}]
        for node in (to, source, *masters):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", to.id)
        await self.another_serves(key, source)


@asynccontextmanager
async def valkey_cluster(masters: int = 3, *, replicas: bool = True, spare: int = 0) -> AsyncIterator[ValkeyCluster]:
    """Start one, and end it. What a node acknowledged survives its `kill -9`.

    Args:
        replicas: whether each master has one.
        spare: masters without any slot.
    """
    with ExitStack() as stack:
        count = masters * (1 + replicas) + spare
        nodes = await asyncio.gather(*(asyncio.to_thread(_start) for _ in range(count)))
        for node in nodes:
            stack.callback(node.server.stop)
            stack.callback(node.client.close)
        cluster = ValkeyCluster(nodes)
        await _form(nodes, masters)
        for master, replica in zip(nodes[:masters], nodes[masters : masters * (1 + replicas)], strict=False):
            replica.ask("CLUSTER", "REPLICATE", master.id)
        await cluster.become_whole()
        yield cluster


async def _form(nodes: Sequence[Node], masters: int) -> None:
    for number, node in enumerate(nodes):
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        if number < masters:
            first, end = (_SLOTS * one // masters for one in (number, number + 1))
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
    for node in nodes[1:]:
        nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.server.port, node.bus_port)
    await until(lambda: all(node.sees(len(nodes)) for node in nodes), "the cluster to be formed")


def _start() -> Node:
    """A node on two free ports."""
    for tries_left in reversed(range(_PORT_TRIES)):
        bus_port = _free_port()
        try:
            server = start_valkey(persistent=True, extra_args=(*_OPTIONS, "--cluster-port", str(bus_port)))
        except ServerUnavailable:
            if not tries_left:
                raise
        else:
            return Node(server, bus_port)
    raise AssertionError


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds that must come to hold. A node that does not answer is asked again.

    Raises:
        TimeoutError: it does not come to hold.
    """
    give_up_s = time.monotonic() + _PATIENCE_S
    while not await asyncio.to_thread(_holds, holds):
        if time.monotonic() > give_up_s:
            raise TimeoutError(f"waited {_PATIENCE_S:g} s in vain for {what}")
        await asyncio.sleep(_LOOK_S)


def _holds(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except (redis.RedisError, LookupError):
        return False
