"""``streamproc audit``: does everything balance, and is every stored hour what its segments come to?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import orjson

from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.cli.session import explained, interruptible, load_settings, set_up_log
from streamproc.core.ledger import WrittenOff
from streamproc.core.windows import WindowKey
from streamproc.roles.auditor import Audit, Auditor, BalanceUnknown
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.redis.behind import BehindSessions
from streamproc.stores.redis.windows import WindowStore


@click.command(epilog="Example: streamproc audit --json")
@click.option("--repair", is_flag=True, help="Store again what is missing, doubled or different.")
@click.option(
    "--write-off",
    "note",
    metavar="NOTE",
    help="Once it is dealt with, close the books on what a ledger lacks: it balances again, and NOTE is kept with what "
    "was missing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
def audit(repair: bool, note: str | None, as_json: bool) -> int:
    """Check the ledger of every shard, and recompute the hours whose details are still kept.

    Safe while workers run. Exit code 1 on any difference that was not repaired, a ledger that does not balance, or
    entries that were lost and not written off.
    """
    if note is not None and not note.strip():
        raise click.UsageError("--write-off: say what was found and done, for whoever reads it later")
    settings = load_settings()
    set_up_log(settings)
    with explained(settings, "the audit is not complete"):
        audits = interruptible(_audit(settings, repair=repair, note=note))
    if as_json:
        click.echo(orjson.dumps({"clean": all(one.clean for one in audits), "shards": [_data(one) for one in audits]}))
    else:
        for one in audits:
            _print(one)
    return 0 if all(one.clean for one in audits) else 1


async def _audit(settings: Settings, *, repair: bool, note: str | None) -> list[Audit]:
    connections = Connections(settings)
    measurements = MeasurementStore(connections.database)
    try:
        await connections.check_layout()
        await connections.check_mongodb()  # where nothing is closed, the auditor does not ask it
        auditors = [
            Auditor(
                shard,
                WindowStore(shard, settings.windowing),
                measurements,
                BehindSessions(shard) if settings.sessions_enabled else None,
            )
            for shard in connections.shards
        ]
        audits = [await auditor.run_once(repair=repair) for auditor in auditors]
        if note is not None:
            for auditor, one in zip(auditors, audits, strict=True):
                await auditor.write_off(one, note)
        return audits
    except BalanceUnknown as error:
        raise click.ClickException(str(error)) from None
    finally:
        await connections.close()


def _data(audit_: Audit) -> dict[str, Any]:
    return {
        "shard": audit_.shard,
        "windows": audit_.windows,
        "imbalance": audit_.imbalance,
        "lost": audit_.lost,
        "ledger": _ledger(audit_),
        "written_off": [
            {"epoch": one.epoch, "at": _at(one), "imbalance": one.imbalance, "lost": one.lost, "note": one.note}
            for one in _written_off(audit_)
        ],
        "findings": [
            {
                **finding.window._asdict(),
                "kind": finding.kind,
                "detail": finding.detail,
                "repaired": finding.repaired,
            }
            for finding in audit_.findings
        ],
    }


def _ledger(audit_: Audit) -> dict[str, int | None]:
    """The terms of the balance, by name; empty where there is no stream yet."""
    return {} if audit_.survey is None else audit_.survey.ledger.by_name()


def _written_off(audit_: Audit) -> list[WrittenOff]:
    return [] if audit_.survey is None else audit_.survey.written_off


def _at(one: WrittenOff) -> datetime:
    return datetime.fromtimestamp(one.at_ms / 1000, UTC)


def _print(audit_: Audit) -> None:
    terms = ", ".join(f"{name} {'unknown' if value is None else value}" for name, value in _ledger(audit_).items())
    imbalance = "unknown" if audit_.imbalance is None else audit_.imbalance
    click.echo(f"shard {audit_.shard}: {terms or 'no stream yet'}; imbalance {imbalance}")
    for one in _written_off(audit_):
        missing = f"imbalance {one.imbalance}, lost {one.lost}"
        click.echo(f"shard {audit_.shard}: written off {_at(one):%Y-%m-%d %H:%M} UTC: {missing}: {one.note}")
    click.echo(f"shard {audit_.shard}: {audit_.windows} closed windows recomputed, {len(audit_.findings)} findings")
    for finding in audit_.findings:
        repaired = " (repaired)" if finding.repaired else ""
        click.echo(f"  {finding.kind}: {_shown(finding.window)}: {finding.detail}{repaired}")


def _shown(window: WindowKey) -> str:
    return f"start {window.start_ms}, channel {window.channel_id}, session {window.session_id}"
