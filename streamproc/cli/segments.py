"""``streamproc segments``: the last segments of a channel, in detail."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from streamproc.answers.limits import MAX_MINUTES
from streamproc.answers.results import RecentSegments
from streamproc.cli.asking import ask, columns, forms, name


@click.command(epilog="Example: streamproc segments kan-11 --minutes 15 | grep timed")
@click.argument("channel")
@click.option("--minutes", type=click.IntRange(1, MAX_MINUTES), default=5, show_default=True, help="How far back.")
@forms
def segments(channel: str, minutes: int, form: str | None) -> int:
    """The last segments of CHANNEL, newest first, each with its times and its error. They come from Redis.

    At most 10,000. Exit code 1 if Redis could not be asked.
    """
    question = f"last {minutes} min"

    def screen(answer: RecentSegments) -> Table:
        return _screen(answer, question)

    return ask(lambda service: service.get_recent_segments(channel, minutes), form, screen, needs=("redis",))


def _screen(answer: RecentSegments, question: str) -> Table:
    count = f"the newest {len(answer.segments):,}" if answer.cut else f"{len(answer.segments):,}"
    title = f"channel {answer.channel_id}, {question} in UTC: {count} segments"
    table = columns(title, "received", "total ms", "extract", "dub", "reinsert", "retries")
    for heading in ("languages", "platform", "session", "segment", "error"):
        table.add_column(heading, no_wrap=heading in {"languages", "platform"})
    for one in answer.segments:
        times = one.total_ms, one.extraction_ms, one.dubbing_ms, one.reinsertion_ms
        table.add_row(
            f"{one.received_at:%H:%M:%S}",
            *(f"{time:,.0f}" for time in times),
            str(one.retry_count or ""),
            Text(f"{one.source_language}>{one.target_language}"),
            *map(name, (one.platform, one.session_id, one.segment_id)),
            name(one.error or "", "red"),
        )
    return table
