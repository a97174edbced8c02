"""``streamproc archive``: the days that outlive MongoDB, seven years.

access              settings and servers, shared by all
run                 archive what is due
status, verify      how each day stands; whether what is archived is what was
query, bigquery     ask, here with DuckDB or there
restore             put a day into a collection of its own
"""

from __future__ import annotations

import click

from streamproc.cli.archive.bigquery import bigquery
from streamproc.cli.archive.query import query
from streamproc.cli.archive.restore import restore
from streamproc.cli.archive.run import run
from streamproc.cli.archive.status import status
from streamproc.cli.archive.verify import verify


@click.group(name="archive", invoke_without_command=True, epilog="Example: streamproc archive run")
@click.pass_context
def archive(ctx: click.Context) -> int:
    """Daily rows for seven years, in files that are verified before MongoDB forgets: docs/archive.md.

    STREAMPROC_ARCHIVE_URL names the place: file:///folder or gs://bucket/prefix.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return 2


for _command in (run, status, verify, query, bigquery, restore):
    archive.add_command(_command)
