"""``streamproc init``: make what is stored in, ahead of the first worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import click

from streamproc.app.connections import Connections
from streamproc.app.keeping import stores_of
from streamproc.app.pod import Pod
from streamproc.app.settings import Settings
from streamproc.cli.session import explained, interruptible, load_settings, set_up_log
from streamproc.stores.mongo.collection import COLLECTION, described
from streamproc.stores.mongo.sessions import SessionStore

_DAY_S: Final = 86_400


@click.command(epilog="Example: STREAMPROC_MONGODB_URL=mongodb://10.0.0.6 streamproc init")
def init() -> None:
    """Create the stream, its group, the time-series collection and its indexes, and say what is there.

    Safe to repeat. Workers do the same when they start; an operator may want it done, and refused, beforehand. Session
    documents belong to other services: their collection is looked at, and never made.
    """
    settings = load_settings()
    set_up_log(settings)
    with explained(settings):
        interruptible(_init(settings))
    click.echo("ready: stream, group, collection and indexes exist")


async def _init(settings: Settings) -> None:
    pod = Pod(settings)
    try:
        await pod.prepare_redis()
        await pod.prepare_mongodb()
    finally:
        await pod.close()
    connections = Connections(settings)
    try:
        async for line in _found(connections):
            click.echo(line)
    finally:
        await connections.close()


async def _found(connections: Connections) -> AsyncIterator[str]:
    """What is there now, as MongoDB itself tells it."""
    settings = connections.settings
    options, indexes = await described(connections.database)
    series = options["timeseries"]
    yield f"{settings.mongodb_database}.{COLLECTION}: time-series collection"
    yield f"  timeField {series['timeField']}, metaField {series['metaField']}, granularity {series['granularity']}"
    yield f"  measurements expire after {options['expireAfterSeconds'] // _DAY_S} days"
    for index in indexes:
        yield f"  index {', '.join(f'{name}: {order}' for name, order in index.items())}"
    if settings.sessions_enabled:
        sessions, _ = stores_of(connections)
        yield f"{settings.mongodb_database}.{sessions.name}: {await _said_of(sessions)}"


async def _said_of(sessions: SessionStore) -> str:
    if not await sessions.exists():
        return "not there yet. Its owner makes it; where it has another name, set STREAMPROC_SESSIONS_COLLECTION"
    if not await sessions.is_indexed():
        return "no index begins with session_id, so every update reads all documents. Let its owner make one"
    return f"about {await sessions.count():,} session documents, found by session_id"
