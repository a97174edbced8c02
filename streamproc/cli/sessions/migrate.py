"""``streamproc sessions migrate``: every session document gets what its stored hours come to."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Final

import click
import orjson

from streamproc.cli.sessions.access import batch_option, json_option, run
from streamproc.cli.sign_of_life import SignOfLife
from streamproc.roles.session_migration import Progress, SessionMigration
from streamproc.stores.mongo.checkpoints import Checkpoints
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.mongo.sessions import SessionStore

_UNFINISHED: Final = "the migration is not complete, and goes on from there when it is started again"


@click.command(epilog="Example: streamproc sessions migrate --dry-run")
@click.option("--dry-run", is_flag=True, help="Only count what would be written.")
@click.option("--undo", is_flag=True, help="Take hourly_metrics out of all documents.")
@click.option("--restart", is_flag=True, help="Begin at the beginning, not where the last run stopped.")
@batch_option
@json_option
def migrate(dry_run: bool, undo: bool, restart: bool, batch: int, as_json: bool) -> int:
    """Give every session document the totals of its stored hours, and the reference to them.

    Touches no field but hourly_metrics, and no document without stored hours. Safe while workers run, and to repeat;
    interrupted, it goes on where it stopped. Enable sessions for the workers first (STREAMPROC_SESSIONS_ENABLED): then
    nothing is missed in between. Undo it the other way round. Exit code 1 if MongoDB refuses a document.
    """
    if undo and (dry_run or restart):
        raise click.UsageError("--undo does not go with --dry-run or --restart")

    async def work(sessions: SessionStore, measurements: MeasurementReader, checkpoints: Checkpoints) -> Progress:
        migration = SessionMigration(sessions, measurements, checkpoints, batch)
        now_ms = time.time_ns() // 1_000_000
        if restart:
            await migration.restart()
        begun = Progress() if dry_run or undo else await migration.resumed()
        if begun.documents:
            click.echo(f"goes on after {begun.documents:,} documents (--restart begins at the beginning)", err=True)
        if undo:
            return await _watched("undoing", migration.undo(), begun, sessions)
        if dry_run:
            return await _watched("looking", migration.try_out(now_ms), begun, sessions)
        return await _watched("migrating", migration.migrate(now_ms), begun, sessions)

    done = run(work, _UNFINISHED)
    if as_json:
        click.echo(orjson.dumps({"dry_run": dry_run, "undo": undo, **asdict(done)}))
    else:
        click.echo(_said(done, dry_run=dry_run, undo=undo))
    return 1 if done.refused else 0


async def _watched(what: str, going: AsyncIterator[Progress], begun: Progress, sessions: SessionStore) -> Progress:
    progress = begun
    shown = begun.documents
    with SignOfLife(what, await sessions.count(), shown) as sign:
        async for progress in going:
            sign.advance(progress.documents - shown)
            shown = progress.documents
    return progress


def _said(done: Progress, *, dry_run: bool, undo: bool) -> str:
    if undo:
        return f"{done.documents:,} documents: hourly_metrics taken out of {done.updated:,}"
    parts = [
        f"{done.updated:,} {'would be updated' if dry_run else 'updated'}",
        f"{done.unchanged:,} unchanged",
        f"{done.without_hours:,} without hours, left alone",
    ]
    if done.refused:
        parts.append(f"{done.refused:,} refused by a validator of the collection: let it allow hourly_metrics")
    return f"{done.documents:,} documents: " + "; ".join(parts)
