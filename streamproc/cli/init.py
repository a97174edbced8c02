"""``streamproc init``: make what is stored in, ahead of the first worker."""

from __future__ import annotations

import click

from streamproc.app.pod import Pod
from streamproc.app.settings import Settings
from streamproc.cli.session import explained, interruptible, load_settings, set_up_log


@click.command(epilog="Example: STREAMPROC_MONGODB_URL=mongodb://10.0.0.6 streamproc init")
def init() -> None:
    """Create the stream, its group, the time-series collection and its indexes.

    Safe to repeat. Workers do the same when they start; an operator may want it done, and refused, beforehand.
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
