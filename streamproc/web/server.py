"""A web process: its own event loop and server, without Faust.

Stop, within 10 s: no new connections, answers under way are finished, background work is dropped (erasures are written
down and go on in the workers), connections are closed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Sequence
from typing import Final

import uvloop
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streamproc.app.ending import end
from streamproc.app.explain import UNSUITABLE
from streamproc.app.garbage import collect_seldom
from streamproc.app.pages import CannotListen
from streamproc.app.settings import Settings
from streamproc.web.application import make_application
from streamproc.web.backend import Backend

logger = logging.getLogger(__name__)

_FINISH_S: Final = 8.0
_IDLE_S: Final = 75.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    collect_seldom()
    try:
        return uvloop.run(_serve(settings))
    except (*UNSUITABLE, CannotListen) as error:
        logger.error("this web process must not run: %s", error)
        return 1


async def _serve(settings: Settings) -> int:
    """Raises UNSUITABLE, CannotListen."""
    backend = Backend(settings)
    runner = web.AppRunner(
        make_application(backend),
        access_log=None,
        logger=_quiet_logger(),
        handler_cancellation=True,  # who has left needs no answer
        keepalive_timeout=_IDLE_S,
        shutdown_timeout=_FINISH_S,
    )
    stop = asyncio.Event()
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    work: list[asyncio.Task[None]] = []
    await runner.setup()
    try:
        port = await _listen(runner, settings)
        work = [asyncio.create_task(one.run()) for one in (backend.sampler, backend.erasures)]
        print(json.dumps({"event": "ready", "port": port}), flush=True)  # noqa: T201
        await _until(stop, work)
    finally:
        await runner.cleanup()
        await end(work)
        await backend.close()
    return 0


async def _listen(runner: web.AppRunner, settings: Settings) -> int:
    """Returns the port. Raises CannotListen."""
    try:
        await web.TCPSite(runner, settings.web_host, settings.web_port).start()
    except OSError as error:
        raise CannotListen(settings, error) from None
    return int(runner.addresses[0][1])


async def _until(stop: asyncio.Event, work: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the signal. Raises whatever ends a piece of the work, all of which goes on for ever."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopping, *work], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    for task in work:
        if task.done():
            task.result()


class _WithoutWords(logging.Filter):
    """What aiohttp logs of a request that it cannot read repeats that request, and there may be an id in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        if kind and issubclass(kind, HttpProcessingError):
            record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args = "a connection was given up: %s", (kind.__name__ if kind else "no reason given",)
        record.exc_info = record.exc_text = None
        return True


def _quiet_logger() -> logging.Logger:
    quiet = logging.getLogger("streamproc.web.connections")
    quiet.filters = [_WithoutWords()]
    return quiet
