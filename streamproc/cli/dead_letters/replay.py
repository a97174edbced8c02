"""``streamproc dead-letters replay``: add what a letter holds to the stream again, as it is or mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, NamedTuple

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
from streamproc.cli.dead_letters.selection import Wanted, require_one_kind, tell_unknown
from streamproc.cli.sign_of_life import SignOfLife
from streamproc.core.commits import Reason
from streamproc.core.replay import ADVICE, FIELDS, NAMING, Obstacle, Refusal
from streamproc.stores.redis.dead_letters import DeadLetterStore, Letter

_REFUSALS_TOLD: Final = 20
_UNFINISHED: Final = "not all were replayed; repeat the command, a segment counts once"


class _Change(click.ParamType):
    name = "field=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, sign, text = str(value).partition("=")
        if not sign or name not in FIELDS:
            self.fail(f"{value!r} must be FIELD=VALUE, with one of the fields {', '.join(FIELDS)}", param, ctx)
        return name, text


class _Added(NamedTuple):
    """A letter that became an entry; `entry_id` is '' in a dry run."""

    letter: Letter
    shard: int
    entry_id: str


@dataclass(slots=True)
class _Report:
    """What became of the letters: replayed by their reason, refused by what stood against it."""

    unknown: Sequence[str] = ()
    replayed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    gone: int = 0
    #: Only of letters that were named by id.
    added: list[_Added] = field(default_factory=list)
    #: The first few.
    refusals: list[tuple[Letter, Refusal]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.unknown and not self.refused


@click.command(epilog="Example: streamproc dead-letters replay --reason malformed --set source_language=he --dry-run")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=LETTER_ID)
@reason_option
@click.option("--all", "everything", is_flag=True, help="Every letter.")
@shard_option
@click.option("--payload", type=click.File("rb"), help="A mended event, for one ID; - reads standard input.")
@click.option(
    "--set", "changes", metavar="FIELD=VALUE", multiple=True, type=_Change(), help="Set a field, in each letter."
)
@click.option("--dry-run", is_flag=True, help="Say what would be replayed and what refused; change nothing.")
@json_option
def replay(
    ids: tuple[str, ...],
    reason: str | None,
    everything: bool,
    shard: int | None,
    payload: BinaryIO | None,
    changes: tuple[tuple[str, str], ...],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Add dead letters to the stream again, as they are or mended, and remove them from the dead letters.

    Each is checked first: one that would be refused again stays, and you are told why and what to do instead. Safe to
    repeat: a segment counts once. Exit code 1 if any was refused.
    """
    require_one_kind(ids, shard, others=everything or reason is not None, options="--reason or --all")
    _require_one_id(ids, payload, changes)
    mended = None if payload is None else payload.read()

    async def work(stores: Stores, settings: Settings) -> _Report:
        judge = Judge(stores, settings.windowing, dict(changes))
        return await _Replay(stores, judge, mended, dry_run=dry_run).run(Wanted(ids, shard, reason))

    report = run(work, "" if dry_run else _UNFINISHED)
    if as_json:
        click.echo(orjson.dumps(_data(report, dry_run), option=orjson.OPT_INDENT_2))
    else:
        _print(report, dry_run)
    tell_unknown(report.unknown)
    return 0 if report.good else 1


def _require_one_id(ids: Sequence[str], payload: BinaryIO | None, changes: Sequence[tuple[str, str]]) -> None:
    """Raises click.UsageError where what is given can be right for one letter alone."""
    if len(set(ids)) == 1:
        return
    if payload is not None:
        raise click.UsageError("--payload is for one ID; --set mends many")
    for name, _ in changes:
        if name in NAMING:
            raise click.UsageError(
                f"--set {name}=... is for one ID: segments with the same segment_id and session_id count once"
            )


class _Replay:
    """One run of the command."""

    def __init__(self, stores: Stores, judge: Judge, mended: bytes | None, *, dry_run: bool) -> None:
        self._stores = stores
        self._judge = judge
        self._mended = mended
        self._dry_run = dry_run
        self._report = _Report()
        self._warned = False

    async def run(self, wanted: Wanted) -> _Report:
        selection = await wanted.fix(self._stores)
        self._report.unknown = selection.unknown
        with SignOfLife(f"{'checking' if self._dry_run else 'replaying'} dead letters", selection.most) as progress:
            async for store, letters, looked_at in selection.pages(self._stores):
                ready = await self._judged(letters)
                self._warn_of_poison(ready)
                self._count(await self._send(store, ready), named=bool(wanted.ids))
                progress.advance(looked_at)
        return self._report

    async def _judged(self, letters: Sequence[Letter]) -> list[tuple[Letter, Ready]]:
        """The letters of a page that would count; the others are refused here, before anything of it is sent."""
        self._judge.look_again()
        ready = []
        for letter in letters:
            verdict = await self._judge.judge(letter.payload if self._mended is None else self._mended)
            if isinstance(verdict, Ready):
                ready.append((letter, verdict))
                continue
            self._report.refused[verdict.obstacle] += 1
            if len(self._report.refusals) < _REFUSALS_TOLD:
                self._report.refusals.append((letter, verdict))
        return ready

    def _warn_of_poison(self, ready: Sequence[tuple[Letter, Ready]]) -> None:
        if not self._warned and any(letter.reason == Reason.POISON for letter, _ in ready):
            self._warned = True
            click.echo(
                "Warning: a poison letter could not be processed, or ended the workers that tried. It may do so again: "
                "watch them. It would become a dead letter again",
                err=True,
            )

    async def _send(self, store: DeadLetterStore, ready: Sequence[tuple[Letter, Ready]]) -> list[_Added]:
        if self._dry_run:
            return [_Added(letter, to.shard, "") for letter, to in ready]
        here = [(letter, to) for letter, to in ready if to.shard == store.number]
        added: list[_Added] = []
        if here:
            entry_ids = await store.replay([(letter.id, to.payload) for letter, to in here])
            found = [_Added(letter, store.number, one) for (letter, _), one in zip(here, entry_ids, strict=True) if one]
            self._report.gone += len(here) - len(found)
            added += found
        for letter, to in ready:
            if to.shard != store.number:
                entry_id = await store.replay_elsewhere(letter.id, to.payload, to.shard)
                added.append(_Added(letter, to.shard, entry_id))
        return added

    def _count(self, added: Sequence[_Added], *, named: bool) -> None:
        self._report.replayed.update(one.letter.reason for one in added)
        if named:
            self._report.added += added


def _data(report: _Report, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "replayed": dict(report.replayed),
        "refused": {str(obstacle): count for obstacle, count in report.refused.items()},
        "gone": report.gone,
        "unknown": list(report.unknown),
        "entries": [
            {
                "id": one.letter.id,
                "shard": one.letter.shard,
                "entry_id": one.entry_id or None,
                "entry_shard": one.shard,
            }
            for one in report.added
        ],
        "first_refusals": [
            {
                "id": letter.id,
                "shard": letter.shard,
                "reason": letter.reason,
                "why": refused.obstacle,
                "detail": refused.detail,
            }
            for letter, refused in report.refusals
        ],
        "advice": {str(obstacle): ADVICE[Obstacle(obstacle)] for obstacle in report.refused},
    }


def _print(report: _Report, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    for one in report.added:
        entry = f", entry {one.entry_id} of shard {one.shard}" if one.entry_id else ""
        click.echo(f"{one.letter.id}  {would}replayed{entry}")
    for letter, refused in report.refusals:
        click.echo(f"{letter.id}  {would}refused, {refused.obstacle}: {shown.escaped(refused.detail)}")
    if (more := report.refused.total() - len(report.refusals)) > 0:
        click.echo(f"and {more} more {would}refused; `streamproc dead-letters show ID` says why of each")
    for obstacle in report.refused:
        click.echo(f"{obstacle}: {ADVICE[Obstacle(obstacle)]}")
    if report.replayed:
        click.echo(f"{would}replayed {shown.totals(report.replayed)}")
    if report.refused:
        click.echo(f"{would}refused {shown.totals(report.refused)}")
    if report.gone:
        click.echo(f"gone meanwhile {report.gone}")
    if not (report.replayed or report.refused or report.gone or report.unknown):
        click.echo("no dead letter matches: nothing to replay")
