"""What the commands on session documents share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import click

from streamproc.app.connections import Connections
from streamproc.app.keeping import stores_of
from streamproc.cli.session import explained, interruptible, load_settings, set_up_log
from streamproc.stores.mongo.checkpoints import Checkpoints
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.mongo.sessions import SessionStore

Work = Callable[[SessionStore, MeasurementReader, Checkpoints], Awaitable["T"]]
T = TypeVar("T")

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
batch_option: Final = click.option(
    "--batch", default=1000, show_default=True, type=click.IntRange(1, 10_000), help="Documents read at once."
)


def run(work: Callable[[SessionStore, MeasurementReader, Checkpoints], Awaitable[T]], unfinished: str = "") -> T:
    """Do something with the session documents, and say what failed in a person's words.

    Args:
        unfinished: what a failure leaves undone, and what to do about it.
    """
    settings = load_settings()
    set_up_log(settings)

    async def connected() -> T:
        connections = Connections(settings)
        try:
            sessions, measurements = stores_of(connections)
            if not await sessions.exists():
                raise click.ClickException(
                    f"there is no collection {sessions.name} in the database {settings.mongodb_database}: name it with "
                    "STREAMPROC_SESSIONS_COLLECTION, or the database with STREAMPROC_MONGODB_DATABASE"
                )
            return await work(sessions, measurements, Checkpoints(connections.database))
        finally:
            await connections.close()

    with explained(settings, unfinished):
        return interruptible(connected())
