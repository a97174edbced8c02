"""``streamproc dead-letters list`` and ``show``."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

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
from streamproc.cli.dead_letters.judging import Judge, Ready
from streamproc.cli.dead_letters.selection import find, tell_unknown
from streamproc.cli.sign_of_life import SignOfLife
from streamproc.core.replay import Refusal, written
from streamproc.stores.redis.dead_letters import Letter

_NARROWEST: Final = 20


class _Listed(NamedTuple):
    """The newest letters, all of them counted, and Redis' time."""

    letters: Sequence[Letter]
    totals: Counter[str]
    now_ms: int
    shards: int


@click.command("list", epilog="Example: streamproc dead-letters list --reason malformed --limit 50")
@reason_option
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(0), help="How many to show, the newest first."
)
@json_option
def list_(reason: str | None, limit: int, as_json: bool) -> None:
    """The newest dead letters, and how many there are of each reason."""

    async def listed(stores: Stores, _: Settings) -> _Listed:
        return await _list(stores, reason, limit)

    result = run(listed)
    if as_json:
        letters = [shown.without_payload(letter) for letter in result.letters]
        data = {"letters": letters, "totals": dict(result.totals), "total": result.totals.total()}
        click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    else:
        _print_list(result, reason)


async def _list(stores: Stores, reason: str | None, limit: int) -> _Listed:
    newest: list[Letter] = []
    totals: Counter[str] = Counter()
    with SignOfLife("looking through dead letters", sum([await store.length() for store in stores])) as progress:
        for store in stores:
            of_shard: list[Letter] = []
            async for page in store.newest_first():
                totals.update(letter.reason for letter in page)
                matching = [letter for letter in page if reason in (None, letter.reason)]
                of_shard += matching[: limit - len(of_shard)]
                progress.advance(len(page))
            newest = sorted(newest + of_shard, key=lambda letter: letter.at_ms, reverse=True)[:limit]
    return _Listed(newest, totals, (await stores[0].standing()).now_ms, len(stores))


def _print_list(listed: _Listed, reason: str | None) -> None:
    if listed.letters:
        _print_table(listed)
    matching = listed.totals.total() if reason is None else listed.totals[reason]
    if 0 < len(listed.letters) < matching:
        click.echo(f"the newest {len(listed.letters)} of {matching}; --limit shows more")
    if listed.totals and not matching:
        click.echo(f"none is {reason}")
    click.echo(f"dead letters {shown.totals(listed.totals)}" if listed.totals else "no dead letters")


def _print_table(listed: _Listed) -> None:
    rows = [["id", "shard", "age", "reason", "detail"]]
    for letter in listed.letters:
        ago = shown.age(listed.now_ms - letter.at_ms)
        rows.append([letter.id, str(letter.shard), ago, shown.escaped(letter.reason), shown.escaped(letter.detail)])
    if listed.shards == 1:
        rows = [row[:1] + row[2:] for row in rows]
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    left = max(_NARROWEST, shutil.get_terminal_size((120, 24)).columns - sum(widths) - 2 * len(widths))
    for *cells, detail in rows:
        aligned = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        click.echo("  ".join([*aligned, shown.cut(detail, left)]))
    click.echo()


class _Looked(NamedTuple):
    letter: Letter
    verdict: Ready | Refusal
    now_ms: int


@click.command(epilog="Example: streamproc dead-letters show 1769162405000-0")
@click.argument("letter_id", metavar="ID", type=LETTER_ID)
@shard_option
@json_option
def show(letter_id: str, shard: int | None, as_json: bool) -> int:
    """All of one dead letter, its payload, and whether it can be replayed as it is."""

    async def look(stores: Stores, settings: Settings) -> _Looked | None:
        letter = await find(stores, letter_id, shard)
        if letter is None:
            return None
        verdict = await Judge(stores, settings.windowing).judge(letter.payload)
        return _Looked(letter, verdict, (await stores[letter.shard].standing()).now_ms)

    looked = run(look)
    if looked is None:
        tell_unknown([letter_id])
        return 1
    if as_json:
        data = {**shown.with_payload(looked.letter), "replay": _replay_data(looked.verdict)}
        click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    else:
        _print_letter(looked)
    return 0


def _replay_data(verdict: Ready | Refusal) -> dict[str, Any]:
    if isinstance(verdict, Ready):
        return {"possible": True}
    return {"possible": False, "why": verdict.obstacle, "detail": verdict.detail, "advice": verdict.advice}


def _print_letter(looked: _Looked) -> None:
    letter, verdict = looked.letter, looked.verdict
    possible = "possible" if isinstance(verdict, Ready) else f"refused, {verdict.obstacle}: {verdict.detail}"
    for name, value in (
        ("id", letter.id),
        ("shard", str(letter.shard)),
        ("entry", letter.entry_id),
        ("reason", letter.reason),
        ("detail", letter.detail),
        ("at", f"{written(letter.at_ms)} ({shown.age(looked.now_ms - letter.at_ms)} ago)"),
        ("replay", possible),
    ):
        click.echo(f"{name:8}{shown.escaped(value)}")
    if isinstance(verdict, Refusal):
        click.echo(f"{'':8}{verdict.advice}")
    click.echo(f"payload, {len(letter.payload)} bytes:")
    click.echo(shown.pretty(letter.payload))
