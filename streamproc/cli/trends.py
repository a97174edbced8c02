"""``streamproc trends``: the days of a channel."""

from __future__ import annotations

import click
from rich.table import Table

from streamproc.answers.limits import MAX_DAYS
from streamproc.answers.results import DailyTrends
from streamproc.cli.asking import FIGURES, ask, columns, figures, forms, state


@click.command(epilog="Example: streamproc trends kan-11 --days 30 --tz Asia/Jerusalem")
@click.argument("channel")
@click.option("--days", type=click.IntRange(1, MAX_DAYS), default=7, show_default=True, help="How many, with today.")
@click.option("--tz", default="UTC", show_default=True, help="Time zone of the days, such as Asia/Jerusalem.")
@forms
def trends(channel: str, days: int, tz: str, form: str | None) -> int:
    """The days of CHANNEL: segments, errors, times of processing, bytes. An hour belongs to the day it starts in.

    A day is `rolling` until all of it is stored, and `revised` while it holds late segments that are not; else it is
    final. Exit code 1 if neither Redis nor MongoDB could be asked.
    """
    return ask(lambda service: service.get_daily_trends(channel, days, tz), form, _screen)


def _screen(answer: DailyTrends) -> Table:
    table = columns(f"channel {answer.channel_id}, days of {answer.time_zone}", "day", *FIGURES, "sessions", "")
    for row in answer.days:
        table.add_row(f"{row.day}", *figures(row), str(row.sessions), state(row.state))
    return table
