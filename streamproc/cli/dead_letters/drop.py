"""``streamproc dead-letters drop``: remove what nobody will mend."""

from __future__ import annotations

import sys
from collections import Counter
from typing import NamedTuple

import click
import orjson

from streamproc.app.settings import Settings
from streamproc.cli.dead_letters import shown
from streamproc.cli.dead_letters.access import (
    LETTER_ID,
    Stores,
    json_option,
    reason_option,
    run,
    shard_option,
)
from streamproc.cli.dead_letters.selection import Selection, Wanted, require_one_kind, tell_unknown
from streamproc.cli.sign_of_life import SignOfLife


class _Found(NamedTuple):
    selection: Selection
    counts: Counter[str]


@click.command(epilog="Example: streamproc dead-letters drop --reason too_late --older-than 86400")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=LETTER_ID)
@reason_option
@click.option("--all", "everything", is_flag=True, help="Every letter.")
@click.option("--older-than", metavar="SECONDS", type=click.FloatRange(0), help="Only letters written before that.")
@shard_option
@click.option("--dry-run", is_flag=True, help="Only count them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def drop(
    ids: tuple[str, ...],
    reason: str | None,
    everything: bool,
    older_than: float | None,
    shard: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Remove dead letters for good. Asks before it does.

    The ledger is not changed: they stay counted as dead letters. To keep a record, export them first.
    """
    others = everything or reason is not None or older_than is not None
    require_one_kind(ids, shard, others=others, options="--reason, --older-than or --all")
    if not (yes or dry_run or sys.stdin.isatty()):
        raise click.UsageError("nobody is there to ask: give --yes to drop them, or --dry-run to count them")

    async def count(stores: Stores, _: Settings) -> _Found:
        selection = await Wanted(ids, shard, reason, older_than).fix(stores)
        return _Found(selection, await _count(stores, selection))

    found = run(count)
    dropped = found.counts
    if not dry_run and found.counts:
        question = f"Drop {shown.totals(found.counts)}? They cannot be brought back"
        if not yes and not click.confirm(question, err=True):
            click.echo("nothing was dropped")
            return 0

        async def carry_out(stores: Stores, _: Settings) -> Counter[str]:
            return await _drop(stores, found.selection)

        dropped = run(carry_out, "not all were dropped; repeat the command")
    _tell(dropped, found.selection, dry_run=dry_run, as_json=as_json)
    return 1 if found.selection.unknown else 0


async def _count(stores: Stores, selection: Selection) -> Counter[str]:
    counts: Counter[str] = Counter()
    with SignOfLife("counting dead letters", selection.most) as progress:
        async for _, letters, looked_at in selection.pages(stores):
            counts.update(letter.reason for letter in letters)
            progress.advance(looked_at)
    return counts


async def _drop(stores: Stores, selection: Selection) -> Counter[str]:
    """Drop them. Returns how many were still there, by reason."""
    dropped: Counter[str] = Counter()
    with SignOfLife("dropping dead letters", selection.most) as progress:
        async for store, letters, looked_at in selection.pages(stores):
            for reason in {letter.reason for letter in letters}:
                dropped[reason] += await store.drop([one.id for one in letters if one.reason == reason])
            progress.advance(looked_at)
    return dropped


def _tell(dropped: Counter[str], selection: Selection, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        data = {"dry_run": dry_run, "dropped": dict(dropped), "unknown": list(selection.unknown)}
        click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    elif dropped:
        click.echo(f"{'would drop' if dry_run else 'dropped'} {shown.totals(dropped)}")
    elif not selection.unknown:
        click.echo("no dead letter matches: nothing to drop")
    tell_unknown(selection.unknown)
