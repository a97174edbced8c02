"""``streamproc sessions``: the product's session documents, which get the totals of their hours.

access       the way to the documents
migrate      all that there are
stale        which are behind, or silent
"""

from __future__ import annotations

import click

from streamproc.cli.sessions.migrate import migrate
from streamproc.cli.sessions.stale import stale


@click.group(invoke_without_command=True, epilog="Example: streamproc sessions migrate --dry-run")
@click.pass_context
def sessions(ctx: click.Context) -> int:
    """The product's session documents: migrate them, look which are stale.

    They are in STREAMPROC_SESSIONS_COLLECTION of STREAMPROC_MONGODB_DATABASE. Workers keep them in step with what they
    store where STREAMPROC_SESSIONS_ENABLED. More: docs/sessions.md.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return 2


for _command in (migrate, stale):
    sessions.add_command(_command)
