"""Redis dies, is replaced by one that knows less, forgets everything, or has no memory left."""

from __future__ import annotations

import asyncio

from streamproc.embedded import EmbeddedServer

from .stage import Stage, kill_and_restart, until


async def kill_redis(stage: Stage) -> int:
    """`kill -9` of a Redis that writes all to its disk, and a restart."""
    await kill_and_restart(stage, stage.redis)
    return 1


async def promote_replica(stage: Stage) -> int:
    """A replica is promoted while its master goes on taking writes, which are lost; then all are sent to the new one.

    At half of the times some clients are sent there before the others: for a moment there are two masters.
    """
    old, new = stage.redis, await asyncio.to_thread(stage.start_redis)
    old_client, new_client = stage.client_of(old), stage.client_of(new)
    await new_client.execute_command("REPLICAOF", "127.0.0.1", old.port)
    await until(lambda: _in_step(stage, old, new), "the replica to be in step")
    await stage.pause(0.3, 1)
    await new_client.execute_command("REPLICAOF", "NO", "ONE")
    await stage.pause(0.3, 1.5)
    stage.redis_proxy.target_port = new.port
    if stage.rng.random() < 0.5:
        stage.redis_proxy.cut(0.5)
        await stage.pause(0.2, 0.6)
    tail = await _entries_added(stage, old) - await _entries_added(stage, new)
    stage.redis_proxy.cut()
    stage.redis = new
    await stage.survivors.give_up(old_client)
    await asyncio.to_thread(old.stop)
    return int(tail > 0)


async def _in_step(stage: Stage, old: EmbeddedServer, new: EmbeddedServer) -> bool:
    """Whether the replica has all that its master had a moment ago."""
    sent = (await stage.client_of(old).info("replication"))["master_repl_offset"]
    seen = await stage.client_of(new).info("replication")
    return bool(seen["master_link_status"] == "up" and seen["slave_repl_offset"] >= sent)


async def _entries_added(stage: Stage, server: EmbeddedServer) -> int:
    stream = f"{stage.settings.prefix}:{{0}}:segments"
    fields = await stage.client_of(server).execute_command("XINFO", "STREAM", stream)
    return int(dict(zip(fields[::2], fields[1::2], strict=True))[b"entries-added"])


async def empty_redis(stage: Stage) -> int:
    """FLUSHALL: stream, group, windows, ledger and layout are gone."""
    await stage.survivors.empty(stage.redis_client)
    await stage.pause(3, 6)
    return 1


async def fill_memory(stage: Stage) -> int:
    """Redis refuses whatever needs memory. Publishers wait; what is in the stream is still counted."""
    client = stage.redis_client
    before = await _refused(stage)
    await client.config_set("maxmemory", 1)
    try:
        await until(lambda: _none_under_way(stage), "the backlog to be counted")
        await stage.pause(1, 3)
    finally:
        await client.config_set("maxmemory", 0)
    return int(await _refused(stage) > before)


async def _refused(stage: Stage) -> int:
    errors = await stage.redis_client.info("errorstats")
    return int(errors.get("errorstat_OOM", {}).get("count", 0))


async def _none_under_way(stage: Stage) -> bool:
    seen = await stage.survey()
    return seen is not None and not (seen.pending or seen.lag_entries)
