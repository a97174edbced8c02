"""``streamproc archive query``: ask the archive, with DuckDB."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from datetime import date
from typing import Any, Final, get_args

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamproc.cli.archive.access import DAY, run_on_archive
from streamproc.stores.archive.query import ask
from streamproc.stores.archive.sql import COLUMN, By, Question

_FIRST: Final = date(1970, 1, 1)
_LAST: Final = date(9999, 12, 31)
#: What a terminal has room for: JSON and CSV have all.
_SHOWN: Final = {
    "segments": "segments",
    "errors": "errors",
    "avg_total_ms": "avg ms",
    "p50_total_ms": "p50 ms",
    "p95_total_ms": "p95 ms",
    "p99_total_ms": "p99 ms",
    "users": "users",
    "dubbed_bytes": "dubbed bytes",
}
_UNBOUNDED: Final = 10_000


@click.command(epilog="Example: streamproc archive query --by month --year 2026 --channel kan-11 --csv")
@click.option("--by", type=click.Choice(get_args(By)), default="day", show_default=True, help="What a row is of.")
@click.option("--since", type=DAY, help="First day. Default: the first that is archived.")
@click.option("--until", type=DAY, help="Last day. Default: the last that is archived.")
@click.option("--year", type=click.IntRange(1970, 9999), help="All days of a year.")
@click.option("--channel", default="", help="This channel alone.")
@click.option("--user", default="", help="This user alone.")
@click.option("--csv", "form", flag_value="csv", help="Print all columns as CSV.")
@click.option("--json", "form", flag_value="json", help="Print all columns as one JSON object.")
def query(
    by: By, since: date | None, until: date | None, year: int | None, channel: str, user: str, form: str | None
) -> int:
    """Trends by day or month, a channel, a user, the totals of a year. Days are days of UTC.

    Percentiles come from merged histograms and are right within 2 %; everything else is exact. Exit code 1 where
    nothing is archived of what was asked.
    """
    if year is not None:
        if since or until:
            raise click.UsageError("--year and --since or --until exclude each other")
        since, until = date(year, 1, 1), date(year, 12, 31)
    question = Question(by, since or _FIRST, until or _LAST, channel, user)
    rows = run_on_archive(lambda archive: ask(archive, question))
    if form == "json":
        click.echo(orjson.dumps({"by": by, "rows": rows}))
    elif form == "csv":
        _csv(rows)
    elif rows:
        _screen(by, rows)
    if not rows:
        click.echo("nothing is archived of that", err=True)
    return 0 if rows else 1


def _csv(rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        writer = csv.DictWriter(sys.stdout, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _screen(by: By, rows: Sequence[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(by, no_wrap=True)
    for name in _SHOWN.values():
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(Text(str(row[COLUMN[by]])), *(f"{row[name]:,.0f}" for name in _SHOWN))
    console = Console()
    console.print(table) if console.is_terminal else Console(width=_UNBOUNDED).print(table)
