"""What the commands on dead letters share: their options, the way to the servers, a sign of life on long work."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.cli.session import explained, interruptible, load_settings, set_up_log
from streamproc.core.commits import Reason
from streamproc.stores.redis.dead_letters import DeadLetterStore

_MOST: Final = 2**64
_LINE_EVERY_S: Final = 5.0

Stores = Sequence[DeadLetterStore]
T = TypeVar("T")


class _LetterId(click.ParamType):
    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        match = re.fullmatch(r"([0-9]{1,20})-([0-9]{1,20})", str(value))
        if match is None or any(int(part) >= _MOST for part in match.groups()):
            self.fail(f"{value!r} is not like 1769162405000-0: `streamproc dead-letters list` shows ids", param, ctx)
        return match[0]


LETTER_ID: Final = _LetterId()
reason_option: Final = click.option(
    "--reason", type=click.Choice([str(reason) for reason in Reason]), help="Only letters with this reason."
)
shard_option: Final = click.option(
    "--shard", type=click.IntRange(0), help="The shard of these ids, where several have the same."
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


def run(work: Callable[[Stores, Settings], Awaitable[T]], unfinished: str = "") -> T:
    """Do something with the dead letters of all shards, and say what failed in a person's words.

    Args:
        unfinished: what a failure leaves undone, and what to do about it.
    """
    settings = load_settings()
    set_up_log(settings)
    with explained(settings, unfinished):
        return interruptible(_connected(work, settings))


async def _connected(work: Callable[[Stores, Settings], Awaitable[T]], settings: Settings) -> T:
    connections = Connections(settings)
    try:
        await connections.check_layout()
        return await work([DeadLetterStore(shard) for shard in connections.shards], settings)
    finally:
        await connections.close()


def of_shard(stores: Stores, shard: int | None) -> Stores:
    """The stores to look through. Raises click.UsageError where there is no such shard."""
    if shard is None:
        return stores
    if shard >= len(stores):
        raise click.UsageError(f"--shard {shard}: the shards are 0 to {len(stores) - 1}")
    return [stores[shard]]


class SignOfLife:
    """Tells on standard error how far long work has come: a bar on a terminal, elsewhere a line every few seconds."""

    def __init__(self, what: str, total: int) -> None:
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(what, total=total)
        self._what, self._total, self._done = what, total, 0
        self._next_line_s = time.monotonic() + _LINE_EVERY_S

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def advance(self, letters: int) -> None:
        self._done += letters
        self._bar.advance(self._task, letters)
        if self._bar.disable and time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + _LINE_EVERY_S
            click.echo(f"{self._what}: {self._done} of {self._total}", err=True)
