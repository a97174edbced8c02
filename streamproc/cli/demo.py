"""``streamproc demo``: everything, on embedded servers."""

from __future__ import annotations

import asyncio
import signal

import click
import orjson
from rich.console import Console

from streamproc.app.settings import PREFIX, InvalidSettings
from streamproc.demo.play import Play, Result, Script
from streamproc.demo.show import Screen, print_result, summary
from streamproc.demo.stage import ServerAway, WorkerFailed, environment, settings_of
from streamproc.embedded import ServerUnavailable
from streamproc.publisher import PublishFailed


@click.command(epilog="Example: streamproc demo --seconds 20 --workers 3")
@click.option("--seconds", default=40.0, show_default=True, type=click.FloatRange(1), help="How long to publish.")
@click.option("--rate", default=400.0, show_default=True, type=click.FloatRange(1), help="Segments a second.")
@click.option("--sessions", default=200, show_default=True, type=click.IntRange(1), help="Sessions simulated.")
@click.option("--channels", default=20, show_default=True, type=click.IntRange(1), help="Channels they are on.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 16), help="Worker processes.")
@click.option("--seed", default=1, show_default=True, type=int, help="The same seed publishes the same kinds again.")
@click.option("--keep", is_flag=True, help="Go on until Ctrl-C, then compare.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def demo(
    seconds: float, rate: float, sessions: int, channels: int, workers: int, seed: int, keep: bool, as_json: bool
) -> int:
    """Simulated dubbing workers publish, pods count, and every closed window is compared with what was published.

    Runs on embedded servers, or on those that STREAMPROC_REDIS_URL and STREAMPROC_MONGODB_URL name, beside whatever
    they hold. Kill a worker while it runs: the result must not change. Exit code 0 says that every window is exact.
    """
    script = Script(None if keep else seconds, rate, sessions, channels, workers, seed)
    console = Console(stderr=as_json)
    console.print("starting servers and workers", highlight=False)
    try:
        with environment() as variables:
            result, interrupted = asyncio.run(_perform(script, variables, console, keep=keep))
    except (ServerUnavailable, ServerAway, WorkerFailed, PublishFailed) as error:
        raise click.ClickException(str(error)) from None
    except InvalidSettings as error:
        raise click.UsageError(str(error)) from None
    if interrupted:
        return 130
    if as_json:
        click.echo(orjson.dumps(summary(result), option=orjson.OPT_INDENT_2))
    else:
        print_result(console, result)
    return 0 if result.exact else 1


async def _perform(script: Script, variables: dict[str, str], console: Console, *, keep: bool) -> tuple[Result, bool]:
    """Perform the demo. Returns the result, and whether Ctrl-C ended it before its time."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    settings = settings_of(variables)
    with Screen(console) as screen:
        play = Play(settings, variables, script, screen.show, stop)
        try:
            result = await play.perform()
        finally:
            # On servers that are not our own, only what carries our own name is removed.
            await play.close(remove_data=settings.prefix.startswith("demo-") and f"{PREFIX}PREFIX" in variables)
    return result, stop.is_set() and not keep
