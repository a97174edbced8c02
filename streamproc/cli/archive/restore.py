"""``streamproc archive restore``: a day's rows, in a collection of their own."""

from __future__ import annotations

import asyncio
from datetime import date

import click

from streamproc.cli.archive.access import DAY, Reached, run_with_servers
from streamproc.stores.mongo.restored import KEEP_SECONDS, NameTaken, default_name
from streamproc.stores.mongo.restored import restore as write


@click.command(epilog="Example: streamproc archive restore --day 2026-11-22")
@click.option("--day", type=DAY, required=True, help="The day.")
@click.option("--into", default="", help="Name of the collection. Default: restored_YYYY_MM_DD.")
@click.option("--replace", is_flag=True, help="Replace what an earlier restore wrote there.")
def restore(day: date, into: str, replace: bool) -> None:
    """Write an archived day's rows into a new collection of MongoDB, beside the measurements and never among them.

    It deletes itself after a week: erasures do not reach it.
    """
    name = into or default_name(day)

    async def bring_back(reached: Reached) -> int:
        archive = reached.archiving.archive
        kept = await asyncio.to_thread(archive.manifest, day)
        if not kept.manifest.files:
            raise click.ClickException(f"{day} is not archived: `streamproc archive status` shows which days are")
        rows = await asyncio.to_thread(archive.rows, kept)
        try:
            return await write(reached.connections.database, name, day, rows, replace=replace)
        except NameTaken as error:
            raise click.UsageError(str(error)) from None

    written = run_with_servers(bring_back, f"{day} is not restored")
    click.echo(f"{written} rows of {day} in collection {name}, for {KEEP_SECONDS // 86_400} days")
