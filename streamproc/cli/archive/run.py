"""``streamproc archive run``: archive every day that is due."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date

import click
import orjson

from streamproc.cli.archive.access import DAY, Reached, day_data, day_line, json_option, run_with_servers
from streamproc.cli.sign_of_life import SignOfLife
from streamproc.roles.archive_inspector import BAD, Day, State


@click.command(epilog="Example: streamproc archive run --since 2026-11-01")
@click.option("--day", type=DAY, help="This day alone.")
@click.option("--since", type=DAY, help="This day and all later ones. Default: every day that MongoDB holds.")
@click.option("--prepare", is_flag=True, help="Set the bucket's lifecycle first (needs storage.buckets.update).")
@json_option
def run(day: date | None, since: date | None, prepare: bool, as_json: bool) -> int:
    """Archive every day that is final and not archived, or changed since; and remove days past seven years.

    May be interrupted, repeated, and run twice at once. Run it daily. A day is final once no late event can come for
    it any more, a day and some minutes after its end. Exit code 1 where a day cannot be archived or is damaged.
    """
    if day and since:
        raise click.UsageError("--day and --since exclude each other")

    async def archive(reached: Reached) -> list[Day]:
        return await _archive(reached, day, since, prepare=prepare)

    days = run_with_servers(archive, "not every day is archived; run it again when this is mended")
    if as_json:
        click.echo(orjson.dumps({"days": [day_data(one) for one in days]}))
    else:
        _print(days)
    return 1 if any(one.state in BAD for one in days) else 0


async def _archive(reached: Reached, day: date | None, since: date | None, *, prepare: bool) -> list[Day]:
    archive, inspector, archiver = reached.archiving
    if prepare:
        await asyncio.to_thread(archive.objects.prepare)
    left_behind = await asyncio.to_thread(archive.staged)
    now_ms = await inspector.now_ms()
    look = await inspector.look()
    days = [day] if day else await inspector.candidates(now_ms, since)
    done = []
    with SignOfLife("archiving days", len(days)) as progress:
        for one in days:
            done.append(await archiver.run_day(one, now_ms, look))
            progress.advance(1)
    for gone in await archiver.tidy(now_ms, left_behind):
        click.echo(f"{gone}  removed after seven years", err=True)
    return done


def _print(days: Sequence[Day]) -> None:
    for one in days:
        if one.written or one.state in BAD:
            click.echo(day_line(one))
    counts = {state: sum(one.state is state for one in days) for state in State}
    told = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    click.echo(f"{sum(one.written for one in days)} written of {len(days)} days: {told or 'nothing to archive'}")
