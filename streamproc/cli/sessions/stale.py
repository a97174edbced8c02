"""``streamproc sessions stale``: which session documents are behind their hours, or active and silent."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import click
import orjson

from streamproc.cli.sessions.access import batch_option, json_option, run
from streamproc.cli.sign_of_life import SignOfLife
from streamproc.core.rows import date
from streamproc.roles.session_survey import Found, Stale, survey
from streamproc.stores.mongo.checkpoints import Checkpoints
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.mongo.sessions import SessionStore

_HOUR_MS: Final = 3_600_000


@click.command(epilog="Example: streamproc sessions stale --silent-hours 6")
@click.option(
    "--silent-hours",
    default=24.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="After so long without segment or activity an active session is silent.",
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(0), help="The most to list.")
@batch_option
@json_option
def stale(silent_hours: float, limit: int, batch: int, as_json: bool) -> int:
    """Report session documents that are behind their stored hours, or active and silent. Changes nothing.

    Behind: hourly_metrics is not what the hours come to. Just after an hour was stored that is so for a second; what
    stays so, `streamproc sessions migrate` mends. Silent: whether such a session has ended is for those to say who own
    its document. Exit code 1 if any is behind.
    """

    async def work(sessions: SessionStore, measurements: MeasurementReader, _: Checkpoints) -> Found:
        now_ms, found = time.time_ns() // 1_000_000, Found()
        silent_ms = round(silent_hours * _HOUR_MS)
        shown = 0
        with SignOfLife("looking", await sessions.count()) as sign:
            async for found in survey(sessions, measurements, now_ms, silent_ms, batch=batch, most=limit):
                sign.advance(found.documents - shown)
                shown = found.documents
        return found

    found = run(work)
    if as_json:
        click.echo(orjson.dumps({**_counts(found), "sessions": [_data(one) for one in found.stale]}))
    else:
        _print(found)
    return 1 if found.behind else 0


def _counts(found: Found) -> dict[str, int]:
    return {"documents": found.documents, "behind": found.behind, "silent": found.silent}


def _data(one: Stale) -> dict[str, Any]:
    fields = asdict(one)
    return {**fields, "last_segment_at": _date(fields.pop("last_segment_ms"))}


def _print(found: Found) -> None:
    click.echo(f"{found.documents:,} documents: {found.behind:,} behind, {found.silent:,} active and silent")
    for one in found.stale:
        kinds = ", ".join(kind for kind, is_so in (("behind", one.behind), ("silent", one.silent)) if is_so)
        last = _date(one.last_segment_ms)
        came = f"last segment {last:%Y-%m-%d %H:%M:%S} UTC" if last else "no segment stored"
        click.echo(f"  {one.session_id}: {kinds}; holds {one.held:,} of {one.stored:,} segments, {came}")


def _date(moment_ms: int | None) -> datetime | None:
    return None if moment_ms is None else date(moment_ms)
