"""Erasing as the settings name it: an eraser of all layers, for workers, commands and HTTP; and a call for services."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from streamproc.app.archiving import make_archive_erasure
from streamproc.app.connections import Connections
from streamproc.app.settings import MAKE_KEY, PREFIX, InvalidSettings, Settings
from streamproc.core.erasures import Erasure, State
from streamproc.metrics import Metrics
from streamproc.roles.eraser import Eraser, Layer
from streamproc.stores.mongo.erasures import ErasureStore, MeasurementErasure, SessionErasure
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.mongo.sessions import SessionStore
from streamproc.stores.redis.erasure import ShardErasure

#: For whoever is to erase and has no key.
NO_KEY = (
    f"{PREFIX}ERASURE_KEY is not set: without it nobody can be recognised as erased. {MAKE_KEY}. Give it to all "
    "workers, too, and keep it as long as the data"
)


async def gdpr_delete_user_dubbing_data(
    user_id: str,
    db: AsyncDatabase[Any] | None = None,
    redis_client: Redis | None = None,
    *,
    settings: Settings | None = None,
    wait: bool = False,
) -> dict[str, Any]:
    """Erase a person from every layer, while workers run, and return the receipt.

    Everything is gone when this returns, but for what a flush that is under way right now may store once more: a second
    pass, after STREAMPROC_FLUSH_VISIBILITY_SECONDS, sees to that. Workers take it, or this call if it is to `wait`.
    Interrupted, it is completed by the workers. Calling it again is harmless, and another erasure with another receipt.

    Args:
        db: the database of the measurements, of pymongo's AsyncMongoClient. Without it one is connected to as the
            settings say.
        redis_client: of redis.asyncio, with whatever options; its address and credentials are used, not its
            connections. Without it, as for `db`; and so for a cluster.
        settings: as the workers have them, the erasure key above all; by default those of the environment.
        wait: until the second pass is through, about a minute, instead of returning after the first.

    Returns:
        The receipt, fit for JSON (docs/formats.md, "Receipt"): ``sessions_deleted``, ``session_ids`` (keyed hashes),
        ``timeseries_docs_deleted``, ``redis_segments_deleted`` and the rest. ``state`` is ``complete``; or
        ``under way``, where the second pass is to come; or ``incomplete``, where ``trouble`` names a layer that was
        away: workers complete it when that is back.

    Raises:
        ValueError: no erasure key, no id, or a client that cannot be used; the message says what to do.
        streamproc.stores.redis.shard.LayoutMismatch: the workers have other settings, or another key.
        streamproc.stores.archive.failures.LibraryMissing: there is an archive, and not what it needs.
        redis.exceptions.RedisError, pymongo.errors.PyMongoError: it may not be written down; call again.
    """
    if not isinstance(user_id, str) or not user_id:
        raise ValueError(f"user_id must be a text that is not empty, got {type(user_id).__name__}")
    connections = _connections(settings or Settings.load(), db, redis_client)
    try:
        eraser = make_eraser(connections, Metrics())
        if eraser is None:
            raise InvalidSettings(NO_KEY)
        await require_erasure_key(connections)
        erasure = await carry_out(eraser, user_id, pause=asyncio.sleep if wait else None)
    finally:
        await connections.close()
    return erasure.receipt()


def _connections(settings: Settings, db: AsyncDatabase[Any] | None, redis_client: Redis | None) -> Connections:
    """Raises ValueError where the clients do not go with the settings: nobody would look where this writes."""
    if isinstance(db, AsyncDatabase) and db.name != settings.mongodb_database:
        raise ValueError(
            f"db is {db.name!r}, and the workers' database is {settings.mongodb_database!r}, as the settings say: give "
            f"this call that database, or settings with the right {PREFIX}MONGODB_DATABASE"
        )
    if redis_client is not None and settings.redis_cluster:
        raise ValueError("for a cluster leave redis_client out: one is connected to as the settings say")
    return Connections(settings, database=db, client=redis_client)


async def carry_out(
    eraser: Eraser,
    user_id: str,
    *,
    anew: bool = True,
    pause: Callable[[float], Awaitable[Any]] | None = asyncio.sleep,
) -> Erasure:
    """Complete the user's erasures. Returns the last, as far as it came: it is incomplete if a layer was away.

    Args:
        anew: ask for another; else only if there is none.
        pause: waits so many seconds, for the second pass; None: leave that to the workers.

    Raises:
        redis.exceptions.RedisError, pymongo.errors.PyMongoError: it may not be written down; repeat it.
    """
    known = await eraser.of_user(user_id)
    if anew or not known:
        known.append(await eraser.request(user_id))
    for erasure in known:
        last = await eraser.advance(erasure)
        while pause and last.state is State.UNDER_WAY:
            await pause(await eraser.wait_ms(last) / 1000)
            last = await eraser.advance(last)
    return last


def make_eraser(connections: Connections, metrics: Metrics) -> Eraser | None:
    """None without an erasure key: then nobody can be erased. Raises LibraryMissing where there is an ARCHIVE_URL."""
    settings = connections.settings
    key = connections.shards[0].erasure_key
    if key is None:
        return None
    others: list[Layer] = [MeasurementErasure(MeasurementStore(connections.database))]
    if settings.sessions_enabled:
        sessions = SessionStore(connections.database, settings.sessions_collection)
        others.append(SessionErasure(sessions, key, settings.windowing))
    if archive := make_archive_erasure(connections):
        others.append(archive)
    return Eraser(
        [ShardErasure(shard, settings.windowing) for shard in connections.shards],
        others,
        ErasureStore(connections.database),
        key,
        settings.windowing,
        metrics,
        settings.erase_policy,
    )


async def require_erasure_key(connections: Connections) -> None:
    """Check that those who count recognise whom this process erases.

    Raises:
        LayoutMismatch: they do not; the message says what to do.
        redis.exceptions.RedisError: ask again.
    """
    await connections.check_layout()
    for shard in connections.shards:
        await shard.require_erasure_key()
