"""``streamproc archive verify``: is what is archived what was archived, and what MongoDB holds?"""

from __future__ import annotations

import asyncio
from datetime import date

import click
import orjson

from streamproc.cli.archive.access import DAY, Reached, json_option, run_with_servers
from streamproc.cli.sign_of_life import SignOfLife


@click.command(epilog="Example: streamproc archive verify --since 2026-11-01")
@click.option("--day", type=DAY, help="This day alone.")
@click.option("--since", type=DAY, help="This day and all later ones. Default: every day.")
@json_option
def verify(day: date | None, since: date | None, as_json: bool) -> int:
    """Read every archived day anew: checksum, form, rows and sums against its manifest.

    And against MongoDB, where that holds the day. Changes nothing. Exit code 1 if anything is wrong.
    """

    async def check(reached: Reached) -> dict[date, list[str]]:
        return await _verify(reached, day, since)

    wrong = run_with_servers(check, "the verification is not complete")
    bad = {one: words for one, words in wrong.items() if words}
    if as_json:
        found = {one.isoformat(): words for one, words in bad.items()}
        click.echo(orjson.dumps({"verified": len(wrong) - len(bad), "wrong": found}))
    else:
        for one, words in bad.items():
            click.echo(f"{one}  {'; '.join(words)}")
        click.echo(f"{len(wrong) - len(bad)} of {len(wrong)} days verified")
    return 1 if bad or (day and day not in wrong) else 0


async def _verify(reached: Reached, day: date | None, since: date | None) -> dict[date, list[str]]:
    archive, inspector, _ = reached.archiving
    now_ms, look = await inspector.now_ms(), await inspector.look()
    known = await asyncio.to_thread(archive.manifests)
    chosen = {one: kept for one, kept in known.items() if (day or since or one) <= one and (not day or one == day)}
    if day and day not in chosen:
        click.echo(f"{day} is not archived", err=True)
    wrong = {}
    with SignOfLife("verifying days", len(chosen)) as progress:
        for one, kept in sorted(chosen.items()):
            wrong[one] = await inspector.verify(kept, now_ms, look)
            progress.advance(1)
    return wrong
