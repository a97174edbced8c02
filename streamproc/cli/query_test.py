"""``streamproc doctor --queries``: every question on what is stored, with rows, time and index."""

from __future__ import annotations

from collections.abc import Sequence

import click
import orjson
from rich.console import Console

from streamproc.app.checkup.query_test import Asked, ask_all
from streamproc.app.settings import Settings
from streamproc.cli.session import explained, interruptible


def run(settings: Settings, *, as_json: bool) -> int:
    """Ask, and print. Returns the exit code."""
    with explained(settings, "the questions were not asked"), Console(stderr=True).status("asking"):
        about, asked = interruptible(ask_all(settings))
    if as_json:
        click.echo(orjson.dumps([one._asdict() for one in asked]))
    else:
        _print(about["channel_id"], asked)
    return 1 if any(one.scans or one.missing for one in asked) else 0


def _print(channel_id: str, asked: Sequence[Asked]) -> None:
    click.echo(f"about channel {channel_id}, and a user and a session of it")
    click.echo(f"  {'question':27} {'rows':>6} {'read':>6} {'ms':>8}  by")
    for one in asked:
        by = click.style(one.by, fg="red") if one.scans else one.by
        click.echo(f"  {one.question:27} {one.rows:6,} {one.read:6,} {one.ms:8.1f}  {by}")
        if one.missing:
            click.echo(f"    missing: {one.missing}")
    scans = [one.question for one in asked if one.scans]
    if scans:
        click.echo(f"by no index: {'; '.join(scans)}. `streamproc init` makes the indexes that are missing")
    else:
        click.echo("each goes by an index")
