"""``streamproc publish``: simulated dubbing workers, against a running system."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Sequence

import click

from streamproc.app.connections import Connections
from streamproc.app.explain import SERVER_FAILURES
from streamproc.app.settings import Settings
from streamproc.cli.session import explained, interruptible, load_settings, set_up_log
from streamproc.demo.publishing import run
from streamproc.demo.simulation import Simulated, Simulation
from streamproc.publisher import PublishFailed
from streamproc.stores.redis.connect import connect


@click.command(epilog="Example: streamproc publish --rate 100 --seconds 60")
@click.option("--rate", default=13.0, show_default=True, type=click.FloatRange(0.1), help="Segments a second.")
@click.option("--seconds", type=click.FloatRange(0.1), help="How long; without it until SIGTERM or Ctrl-C.")
@click.option("--sessions", default=200, show_default=True, type=click.IntRange(1), help="Sessions simulated.")
@click.option("--channels", default=20, show_default=True, type=click.IntRange(1), help="Channels they are on.")
@click.option("--seed", type=int, help="The same seed publishes the same kinds again; default: a new one each time.")
def publish(rate: float, seconds: float | None, sessions: int, channels: int, seed: int | None) -> None:
    """Publish what simulated dubbing workers would: mostly good segments, some repeated, late or malformed."""
    settings = load_settings()
    set_up_log(settings)
    windowing = settings.windowing
    simulation = Simulation(
        random.randrange(10**6) if seed is None else seed,
        sessions=sessions,
        channels=channels,
        window_ms=windowing.length_ms,
        grace_ms=windowing.grace_ms,
        horizon_ms=windowing.horizon_ms,
        future_ms=windowing.future_ms,
    )
    with explained(settings, "nothing is published"):
        interruptible(_check(settings))
    with explained(settings, "publishing ended before its time"):
        published = asyncio.run(_publish(settings, simulation, rate, seconds))
    click.echo(f"published {published} entries")


async def _check(settings: Settings) -> None:
    """A publisher repeats for long what is not confirmed; what never will be is said at once."""
    connections = Connections(settings)
    try:
        await connections.check_layout()
        for shard in connections.shards:
            await shard.require_writable()
    finally:
        await connections.close()


async def _publish(settings: Settings, simulation: Simulation, rate: float, seconds: float | None) -> int:
    """Publish until the time is up or a signal comes. Returns how many entries were confirmed."""
    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, until.set)
    if seconds is not None:
        loop.call_later(seconds, until.set)
    published = 0

    def count(batch: Sequence[Simulated]) -> None:
        nonlocal published
        published += len(batch)

    client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster)
    try:
        await run(
            simulation,
            client,
            rate=rate,
            until=until,
            on_published=count,
            prefix=settings.prefix,
            shards=settings.shards,
        )
    except PublishFailed as error:
        if isinstance(error.__cause__, SERVER_FAILURES):
            raise error.__cause__ from None
        raise click.ClickException(str(error)) from None
    finally:
        await client.aclose()
    return published
