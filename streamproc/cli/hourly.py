"""``streamproc hourly``: the hours of a channel, or of a session."""

from __future__ import annotations

from datetime import datetime

import click
from rich.table import Table

from streamproc.answers.limits import MAX_HOURS
from streamproc.answers.results import HourlyMetrics, SessionHours
from streamproc.cli.asking import FIGURES, ask, columns, figures, forms, name, state


@click.command(epilog="Examples: streamproc hourly kan-11 --hours 6; streamproc hourly --session session-17 --csv")
@click.argument("channel", required=False)
@click.option("--hours", type=click.IntRange(1, MAX_HOURS), default=24, show_default=True, help="How far back.")
@click.option("--session", help="The hours of this session instead, all of the last 90 days.")
@forms
def hourly(channel: str | None, hours: int, session: str | None, form: str | None) -> int:
    """The hours of CHANNEL, or of a session: segments, errors, times of processing, bytes.

    An hour is `rolling` until all of it is stored, and `revised` while it holds late segments that are not; else it is
    final. Exit code 1 if neither Redis nor MongoDB could be asked.
    """
    if (channel is None) == (session is None):
        raise click.UsageError("name either a CHANNEL, or a session with --session")
    if session is not None:
        return ask(lambda service: service.get_session_hours(session), form, _of_session)
    return ask(lambda service: service.get_hourly_metrics(str(channel), hours), form, _of_channel)


def _start(hour: datetime) -> str:
    """When a window began; to the second where windows are shorter than a minute."""
    return f"{hour:%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def _of_channel(answer: HourlyMetrics) -> Table:
    table = columns(f"channel {answer.channel_id}, hours in UTC", "hour", *FIGURES, "sessions", "")
    for row in answer.hours:
        table.add_row(_start(row.hour), *figures(row), str(row.sessions), state(row.state))
    return table


def _of_session(answer: SessionHours) -> Table:
    table = columns(f"session {answer.session_id}, hours in UTC", "hour", *FIGURES, "")
    table.add_column("channel")
    table.add_column("user")
    for row in answer.hours:
        where = name(row.channel_id), name(row.user_id)
        table.add_row(_start(row.hour), *figures(row), state(row.state), *where)
    return table
