"""``streamproc dead-letters``: look at entries that were refused, mend and replay them, keep a record, remove them.

access      options and servers, shared by all
selection   which letters a command is about
judging     what would become of a letter, were it replayed now
browse      list, show
replay, drop, export
"""

from __future__ import annotations

import click

from streamproc.cli.dead_letters.browse import list_, show
from streamproc.cli.dead_letters.drop import drop
from streamproc.cli.dead_letters.export import export
from streamproc.cli.dead_letters.replay import replay


@click.group(
    name="dead-letters", invoke_without_command=True, epilog="Example: streamproc dead-letters list --reason malformed"
)
@click.pass_context
def dead_letters(ctx: click.Context) -> int:
    """Entries that broke a rule: list, show, replay, drop or export them.

    A dead letter is malformed, future, too_late or poison. They are kept for STREAMPROC_DEAD_LETTER_RETENTION_SECONDS.
    What each reason means, and what to do about it: docs/dead-letters.md.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return 2


for _command in (list_, show, replay, drop, export):
    dead_letters.add_command(_command)
