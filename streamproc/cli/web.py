"""``streamproc web``: the questions, the dashboard and erasure over HTTP, until SIGTERM."""

from __future__ import annotations

import click

from streamproc.cli.session import load_settings, set_up_log


@click.command(epilog="Example: STREAMPROC_REDIS_URL=redis://10.0.0.5:6379/0 streamproc web --port 8081")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port of the HTTP server; 0 picks a free one.")
def web(port: int | None) -> int:
    """Serve the dashboard on /, and the API on /api.

    Prints {"event": "ready", "port": ...} when it serves. Without STREAMPROC_API_TOKEN the API is served on a loopback
    STREAMPROC_WEB_HOST only, and erasure is off. Any number may run at once; they count nothing. SIGTERM: finishes the
    answers under way and leaves within 10 seconds.
    """
    settings = load_settings(**({} if port is None else {"web_port": port}))
    set_up_log(settings)

    from streamproc.web.server import run  # noqa: PLC0415

    return run(settings)
