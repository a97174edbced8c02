"""``streamproc archive status``: which days are archived, which are due, how long MongoDB still has them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

import click
import orjson

from streamproc.cli.archive.access import Reached, day_data, day_line, json_option, run_with_servers
from streamproc.core.day_rows import day_start_ms
from streamproc.roles.archive_inspector import BAD, Day, State
from streamproc.stores.archive.objects import Shown
from streamproc.stores.mongo.collection import EXPIRE_AFTER_SECONDS

_DAY_MS = 86_400_000


class _Status(NamedTuple):
    now_ms: int
    days: list[Day]
    overdue: list[date]
    kept: int
    kept_bytes: int
    first: date | None
    storage: Sequence[Shown]


@click.command(epilog="Example: streamproc archive status --json")
@json_option
def status(as_json: bool) -> int:
    """Show how every day stands that MongoDB holds, and what the storage is set to.

    done: archived from what MongoDB holds. due: final, and not archived. changed: archived, and MongoDB holds something
    else since. waiting: not final. missing: MongoDB has begun to forget it, and it is not archived. Exit code 1 where a
    day is missing, or due for longer than 80 days.
    """
    found = run_with_servers(_status)
    click.echo(orjson.dumps(_data(found))) if as_json else _print(found)
    bad = any(one.state in BAD for one in found.days) or bool(found.overdue)
    return 1 if bad or any(one.good is False for one in found.storage) else 0


async def _status(reached: Reached) -> _Status:
    archive, inspector, _ = reached.archiving
    now_ms, look = await inspector.now_ms(), await inspector.look()
    known = await asyncio.to_thread(archive.manifests)
    storage = await asyncio.to_thread(archive.objects.shown)
    days = []
    for day in await inspector.candidates(now_ms):
        kept = await asyncio.to_thread(archive.manifest, day)
        days.append((await inspector.state_of(day, now_ms, look, kept))[0])
    files = [kept.manifest.file for kept in known.values() if kept.manifest.file]
    size = sum(file.size_bytes for file in files)
    overdue = await inspector.overdue(now_ms)
    if overdue.trouble:
        raise overdue.trouble
    return _Status(now_ms, days, overdue.days, len(files), size, min(known, default=None), storage)


def _days_left(day: date, now_ms: int) -> float:
    """Until MongoDB begins to forget it."""
    return (day_start_ms(day) + EXPIRE_AFTER_SECONDS * 1000 - now_ms) / _DAY_MS


def _data(found: _Status) -> dict[str, Any]:
    return {
        "archived_days": found.kept,
        "archived_bytes": found.kept_bytes,
        "first_day": found.first and found.first.isoformat(),
        "overdue": [day.isoformat() for day in found.overdue],
        "days": [
            {**day_data(one), "days_until_forgotten": round(_days_left(one.day, found.now_ms), 2)} for one in found.days
        ],
        "storage": [one._asdict() for one in found.storage],
    }


def _print(found: _Status) -> None:
    since = f", the first of {found.first}" if found.first else ""
    click.echo(f"{found.kept} days archived, {found.kept_bytes:,} bytes{since}")
    for one in found.days:
        if one.state is not State.DONE:
            click.echo(f"{day_line(one)}  (MongoDB forgets it in {_days_left(one.day, found.now_ms):.1f} days)")
    counts = {state: sum(one.state is state for one in found.days) for state in State}
    told = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    click.echo(f"{len(found.days)} days in MongoDB: {told or 'none'}; {len(found.overdue)} overdue")
    for shown in found.storage:
        mark = "  <- mend this" if shown.good is False else ""
        click.echo(f"{shown.what}: {shown.value}{mark}")
