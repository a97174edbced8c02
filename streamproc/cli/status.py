"""``streamproc status``: one look at the whole system, or one after the other."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager

import click
import msgspec
from rich.console import Console
from rich.live import Live

from streamproc.answers.overview import overview
from streamproc.answers.overview_results import Overview
from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.cli.session import interruptible, load_settings, set_up_log
from streamproc.cli.status_screen import screen


@click.command(epilog="Example: streamproc status --watch 5")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch one line for each look.")
@click.option(
    "--watch",
    "every_s",
    type=click.FloatRange(0.2),
    is_flag=False,
    flag_value=2.0,
    metavar="[SECONDS]",
    help="Look again every so many seconds (2), until Ctrl-C.",
)
def status(as_json: bool, every_s: float | None) -> int:
    """Say whether the system is well, what is wrong and what to do, and where everything stands.

    "down": nothing is counted. "degraded": hours are late or wrong, or will be, unless somebody acts. "healthy":
    neither, though there may be warnings. Exit code 1 where Redis cannot be reached, or holds data that was made with
    other settings; else 0.
    """
    settings = load_settings()
    set_up_log(settings)
    try:
        if every_s is not None:
            interruptible(_watch(settings, every_s, as_json=as_json))
        return interruptible(_look_once(settings, as_json=as_json))
    except BrokenPipeError:  # whoever read this has had enough: `| head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


async def _look_once(settings: Settings, *, as_json: bool) -> int:
    async with aclosing(_looks(settings, 0)) as looks:
        seen = await anext(looks)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(seen), indent=2))
    else:
        Console(highlight=False).print(screen(seen))
    blind = not seen.redis.up or any(trouble.what == "layout" for trouble in seen.troubles)
    return 1 if blind else 0


async def _watch(settings: Settings, every_s: float, *, as_json: bool) -> None:
    """Until Ctrl-C."""
    with _showing(as_json=as_json) as show:
        async with aclosing(_looks(settings, every_s)) as looks:
            async for seen in looks:
                show(seen)


@contextmanager
def _showing(*, as_json: bool) -> Iterator[Callable[[Overview], None]]:
    """How to show one look after the other: as lines of JSON, on a terminal in place, elsewhere below each other."""
    console = Console(highlight=False)
    if as_json:
        yield lambda seen: click.echo(msgspec.json.encode(seen))
    elif console.is_terminal:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            yield lambda seen: live.update(screen(seen), refresh=True)
    else:
        yield lambda seen: console.print(screen(seen), "", sep="\n")


async def _looks(settings: Settings, every_s: float) -> AsyncGenerator[Overview, None]:
    connections = Connections(settings)
    try:
        while True:
            yield await overview(connections)
            await asyncio.sleep(every_s)
    finally:
        await connections.close()
