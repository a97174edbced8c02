"""``streamproc erase``: erase a person everywhere, and print the receipt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click
import orjson
from rich.console import Console

from streamproc.app.erasing import NO_KEY, carry_out
from streamproc.app.explain import SERVER_FAILURES, explain, server_of
from streamproc.app.pod import Pod
from streamproc.app.settings import Settings
from streamproc.cli.session import explained, interruptible, load_settings, set_up_log
from streamproc.core.erasures import Erasure, State


@dataclass(frozen=True, slots=True)
class _Result:
    """An erasure as far as it came, and what a verification found; None where none was asked for."""

    erasure: Erasure
    found: Mapping[str, Mapping[str, int]] | None = None

    @property
    def good(self) -> bool:
        return self.erasure.state is State.COMPLETE and not self.found


@click.command(epilog="Example: streamproc erase --user user-17 --verify")
@click.option("--user", "user_id", required=True, help="The user's id, as in the events.")
@click.option(
    "--verify",
    is_flag=True,
    help="Look again in every layer for what the user's last erasure covers. Starts another only if there is none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as one JSON object.")
def erase(user_id: str, verify: bool, as_json: bool) -> int:
    """Erase a person from Redis, MongoDB and the archive, while workers run, and print the receipt.

    Covers every window of that user up to the present one; what is published for later windows counts. Takes
    STREAMPROC_FLUSH_VISIBILITY_SECONDS and a little more. Interrupted, it is completed by the workers, or by the next
    run. Exit code 1 if a layer was away (incomplete: run it again), or if --verify finds anything.
    """
    if not user_id:
        raise click.UsageError("--user must not be empty")
    settings = load_settings()
    set_up_log(settings)
    with explained(settings, "the erasure is not complete; run it again when this is mended"):
        try:
            result = interruptible(_erase(settings, user_id, verify=verify))
        except SERVER_FAILURES as error:
            if as_json:
                trouble = {server_of(error): explain(error).cause}
                click.echo(orjson.dumps({"state": State.INCOMPLETE, "trouble": trouble}))
            raise
    if as_json:
        click.echo(orjson.dumps(_data(result), option=orjson.OPT_INDENT_2))
    else:
        _print(result)
    return 0 if result.good else 1


async def _erase(settings: Settings, user_id: str, *, verify: bool) -> _Result:
    pod = Pod(settings)
    if pod.eraser is None:
        raise click.UsageError(NO_KEY)
    try:
        await pod.check_erasure_key()
        erasure = await carry_out(pod.eraser, user_id, anew=not verify, pause=_wait)
        found = await pod.eraser.look(erasure, user_id) if verify else None
    finally:
        await pod.close()
    return _Result(erasure, found)


async def _wait(seconds: float) -> None:
    if seconds:
        with Console(stderr=True).status(f"waiting {seconds:.0f} s, until flushes that were under way have ended"):
            await asyncio.sleep(seconds)


def _data(result: _Result) -> dict[str, Any]:
    receipt = result.erasure.receipt()
    return receipt if result.found is None else {**receipt, "verified": not result.found, "found": dict(result.found)}


def _print(result: _Result) -> None:
    receipt = _data(result)
    for name in ("passes", "trouble", "verified", "found"):
        receipt.pop(name, None)
    receipt["session_ids"] = ", ".join(receipt["session_ids"]) or None
    for name, value in receipt.items():
        click.echo(f"{name:24} {value if value is not None else '-'}")
    for where, what in result.erasure.trouble.items():
        click.echo(f"{'not erased':24} {where}: {what}; run it again")
    if result.found is not None:
        found = "; ".join(f"{layer}: {_listed(tally)}" for layer, tally in result.found.items())
        click.echo(f"{'found':24} {found or 'nothing'}")


def _listed(tally: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in tally.items())
