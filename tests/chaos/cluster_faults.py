"""What can befall a cluster: masters die, freeze, hand over; replicas die; shards move."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from .cluster_stage import ClusterStage
from .valkey_cluster import Node


async def kill_master(stage: ClusterStage) -> None:
    """`kill -9`; its replica is promoted; it comes back as a replica of that."""
    stream = stage.a_shard()
    dead = stage.cluster.master_of(stream)
    dead.kill()
    await stage.cluster.another_serves(stream, dead)
    await stage.pause(0, 2)
    await _come_back(stage, dead)


async def kill_master_briefly(stage: ClusterStage) -> None:
    """`kill -9`, and back from its disk before anybody is promoted."""
    dead = stage.cluster.master_of(stage.a_shard())
    dead.kill()
    await _come_back(stage, dead)


async def kill_replica(stage: ClusterStage) -> None:
    """`kill -9`: until it is back, nothing can be confirmed by a replica."""
    dead = stage.cluster.replica_of(stage.cluster.master_of(stage.a_shard()))
    dead.kill()
    await stage.pause(0, 2)
    await _come_back(stage, dead)


async def freeze_master(stage: ClusterStage) -> None:
    """It stops answering, its replica is promoted, and it wakes up believing that it is the master."""
    stream = stage.a_shard()
    frozen = stage.cluster.master_of(stream)
    frozen.freeze()
    try:
        await stage.cluster.another_serves(stream, frozen)
        await stage.pause(0, 2)
    finally:
        frozen.thaw()
    await stage.cluster.become_whole()


async def hand_over(stage: ClusterStage) -> None:
    """A replica takes over from a master that is well, as for maintenance.

    https://redis.io/docs/latest/commands/cluster-failover/
    """
    stream = stage.a_shard()
    master = stage.cluster.master_of(stream)
    stage.cluster.replica_of(master).ask("CLUSTER", "FAILOVER")
    await stage.cluster.another_serves(stream, master)
    await stage.cluster.become_whole()


async def move_slot(stage: ClusterStage) -> None:
    """A shard moves to another master, key by key."""
    stream = stage.a_shard()
    await stage.cluster.move_slot(stream, stage.another_master(stream))


async def move_slot_at_once(stage: ClusterStage) -> None:
    """A shard moves to another master as a whole."""
    stream = stage.a_shard()
    await stage.cluster.move_slot_at_once(stream, stage.another_master(stream))


async def _come_back(stage: ClusterStage, dead: Node) -> None:
    await asyncio.to_thread(dead.restart)
    await stage.cluster.become_whole()


Fault = Callable[[ClusterStage], Awaitable[None]]
FAULTS: Final[tuple[Fault, ...]] = (
    kill_master, kill_master_briefly, kill_replica, freeze_master, hand_over, move_slot, move_slot_at_once,
)  # fmt: skip
