"""``streamproc user``: what a user has used, by day and in all."""

from __future__ import annotations

import click
from rich.table import Table

from streamproc.answers.limits import MAX_DAYS
from streamproc.answers.results import UserActivity
from streamproc.cli.asking import FIGURES, ask, columns, figures, forms, state


@click.command(epilog="Example: streamproc user user-17 --days 30 --tz Europe/London --csv")
@click.argument("user_id", metavar="USER")
@click.option("--days", type=click.IntRange(1, MAX_DAYS), default=30, show_default=True, help="How many, with today.")
@click.option("--tz", default="UTC", show_default=True, help="Time zone of the days, such as Asia/Jerusalem.")
@forms
def user(user_id: str, days: int, tz: str, form: str | None) -> int:
    """What USER has used: hours of dubbed video (a segment lasts 15 s), segments, errors, times, bytes; by day.

    A day is `rolling` until all of it is stored, and `revised` while it holds late segments that are not; else it is
    final. Exit code 1 if neither Redis nor MongoDB could be asked.
    """
    return ask(lambda service: service.get_user_activity(user_id, days, tz), form, _screen)


def _screen(answer: UserActivity) -> Table:
    title = f"user {answer.user_id}, days of {answer.time_zone}"
    table = columns(title, "day", "dubbed h", *FIGURES, "sessions", "")
    for row in answer.days:
        table.add_row(f"{row.day}", f"{row.total_hours:,.2f}", *figures(row), str(row.sessions), state(row.state))
    table.add_section()
    table.add_row("total", f"{answer.total_hours:,.2f}", *figures(answer.total))
    return table
