"""``streamproc worker``: one pod, until SIGTERM."""

from __future__ import annotations

import asyncio

import click
import uvloop

from streamproc.cli.session import explained, load_settings, set_up_log


@click.command(epilog="Example: STREAMPROC_REDIS_URL=redis://10.0.0.5:6379/0 streamproc worker")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port of the HTTP server; 0 picks a free one.")
def worker(port: int | None) -> int:
    """Count segments, close windows, store measurements.

    Any number of workers may run at once. Prints {"event": "ready", "port": ...} when it serves /metrics, /healthz
    and /readyz. SIGTERM: commits what it has in hand and leaves within 10 seconds.
    """
    settings = load_settings(**({} if port is None else {"web_port": port}))
    set_up_log(settings)
    # Faust takes the current loop as soon as it is imported: ours has to be there before.
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)

    from streamproc.app.pod import Pod  # noqa: PLC0415
    from streamproc.app.runtime import run  # noqa: PLC0415

    async def make_pod() -> Pod:
        return Pod(settings)

    with explained(settings):
        pod = loop.run_until_complete(make_pod())
    return run(pod, loop)
