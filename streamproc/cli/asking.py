"""What the commands that ask questions share: their options, asking, and the forms in which an answer is printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamproc.answers.results import Answer, Figures
from streamproc.answers.service import DubbingMetricsService
from streamproc.answers.tables import rows_of, to_csv
from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.cli.session import explained, interruptible, load_settings, set_up_log

_A = TypeVar("_A", bound=Answer)
_Command = TypeVar("_Command", bound=Callable[..., Any])

# Of what is not a terminal nobody knows the width: one line for each row, to be searched.
_UNBOUNDED: Final = 10_000
#: Below this columns stand closer together, and
_WIDE: Final = 110
#: below this there are fewer: JSON and CSV have all.
_NARROW: Final = 94
_LEFT_OUT: Final = ("sessions", "p99 ms", "extract", "reinsert", "platform")
_CLOSE: Final = (0, 1, 0, 0)
_BYTES_PER_GB: Final = 1_000_000_000
_RED: Final = "red"
_STATES: Final = {"final": "", "rolling": "cyan", "revised": "yellow"}


def forms(command: _Command) -> _Command:
    """Options that choose the form of the answer: argument `form`."""
    for form, words in (
        ("csv", "Print all columns as CSV, errors and languages among them."),
        ("json", "Print the answer of the HTTP API."),
    ):
        command = click.option(f"--{form}", "form", flag_value=form, help=words)(command)
    return command


def ask(
    question: Callable[[DubbingMetricsService], Awaitable[_A]],
    form: str | None,
    screen: Callable[[_A], Table],
    *,
    needs: Sequence[str] = ("redis", "mongodb"),
) -> int:
    """Ask, print, and say on standard error what is missing. Returns the exit code: 1 if nothing could be answered.

    Args:
        needs: the layers without which (without all of which) there is no answer.
    """
    settings = load_settings()
    set_up_log(settings)
    with explained(settings):
        try:
            answer = interruptible(_ask(settings, question))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    empty = not getattr(answer, rows_of(type(answer))[0])
    unanswered = empty and {one.layer for one in answer.missing}.issuperset(needs)
    if form == "json" or not unanswered:
        _print(answer, form, screen, empty=empty)
    for one in answer.missing:
        click.echo(f"missing is what {one.layer} holds: {one.reason}", err=True)
    return 1 if unanswered else 0


def columns(title: str, *names: str) -> Table:
    """An empty table: the first column names the row, the others are figures, units in their headings."""
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="dim")
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    return table


FIGURES: Final = ("segments", "errors", "err %", "avg ms", "p50 ms", "p95 ms", "p99 ms", "GB")


def figures(row: Figures) -> list[Text]:
    """The cells under `FIGURES`."""
    style = _RED if row.errors else ""
    times = (row.avg_total_ms, row.p50_total_ms, row.p95_total_ms, row.p99_total_ms)
    return [
        Text(f"{row.segments:,}"),
        Text(f"{row.errors:,}", style=style),
        Text(f"{100 * row.error_rate:.1f}", style=style),
        *(Text("-" if one is None else f"{one:,.0f}") for one in times),
        Text(f"{row.dubbed_bytes / _BYTES_PER_GB:,.1f}"),
    ]


def state(said: str) -> Text:
    """`final` is what one expects, and goes without saying."""
    return Text("" if said == "final" else said, style=_STATES[said])


def name(identifier: str, style: str = "") -> Text:
    """An id, which may hold anything printable; cut where there is no room for it. So with texts."""
    return Text(identifier, overflow="ellipsis", no_wrap=True, style=style)


async def _ask(settings: Settings, question: Callable[[DubbingMetricsService], Awaitable[_A]]) -> _A:
    connections = Connections(settings)
    try:
        return await question(DubbingMetricsService(connections.redis, connections.database, settings))
    finally:
        await connections.close()


def _print(answer: _A, form: str | None, screen: Callable[[_A], Table], *, empty: bool) -> None:
    try:
        if form == "json":
            click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2))
        elif form == "csv":
            click.echo(to_csv(answer), nl=False)
        else:
            _show(screen(answer), empty=empty)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read this has had enough: `| head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show(table: Table, *, empty: bool) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _UNBOUNDED
    if console.width < _NARROW:
        table = _narrow(table)
    if console.width < _WIDE:
        table.padding = _CLOSE
    console.print(table)
    if empty:
        console.print("no segments in that time", style="dim")


def _narrow(table: Table) -> Table:
    """The table without the columns that a narrow terminal does without."""
    kept = [column for column in table.columns if column.header not in _LEFT_OUT]
    narrow = columns(str(table.title))
    for column in kept:
        narrow.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap)
    for cells in zip(*(column.cells for column in kept), strict=True):
        narrow.add_row(*cells)
    return narrow
