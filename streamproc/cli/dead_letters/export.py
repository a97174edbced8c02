"""``streamproc dead-letters export``: keep a record, a line of JSON for each letter."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click
import orjson

from streamproc.app.settings import Settings
from streamproc.cli.dead_letters import shown
from streamproc.cli.dead_letters.access import Stores, reason_option, run
from streamproc.cli.dead_letters.selection import Wanted
from streamproc.cli.sign_of_life import SignOfLife


@click.command(epilog="Example: streamproc dead-letters export --reason too_late --output too-late.jsonl")
@reason_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file, which is there when it is complete, and for you alone to read. Default: standard output.",
)
def export(reason: str | None, output: Path | None) -> None:
    """Write dead letters as lines of JSON, the oldest first of each shard.

    Each has id, shard, entry_id, reason, detail, at, and payload, or payload_base64 where that is not UTF-8. They hold
    what producers sent, personal data included; an erasure does not reach the file.
    """

    async def write(stores: Stores, _: Settings) -> int:
        with _opened(output) as file:
            return await _write(stores, reason, file)

    written = run(write, "the export is not complete")
    if not written:
        click.echo("no dead letter matches: nothing to export", err=True)
    elif output is not None:
        click.echo(f"exported {written} dead letter{'' if written == 1 else 's'} to {output}", err=True)


async def _write(stores: Stores, reason: str | None, file: IO[bytes]) -> int:
    selection = await Wanted(reason=reason).fix(stores)
    written = 0
    with SignOfLife("exporting dead letters", selection.most) as progress:
        async for _, letters, looked_at in selection.pages(stores):
            lines = [orjson.dumps(shown.with_payload(letter), option=orjson.OPT_APPEND_NEWLINE) for letter in letters]
            file.write(b"".join(lines))
            written += len(letters)
            progress.advance(looked_at)
    return written


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that takes its name only when all of it is on disk."""
    if output is None:
        yield click.get_binary_stream("stdout")
        return
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(output)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from None
