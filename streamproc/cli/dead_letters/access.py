"""What the commands on dead letters share: their options, the way to the servers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import click

from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.cli.session import explained, interruptible, load_settings, set_up_log
from streamproc.core.commits import Reason
from streamproc.stores.redis.dead_letters import DeadLetterStore

_MOST: Final = 2**64

Stores = Sequence[DeadLetterStore]
T = TypeVar("T")


class _LetterId(click.ParamType):
    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        match = re.fullmatch(r"([0-9]{1,20})-([0-9]{1,20})", str(value))
        if match is None or any(int(part) >= _MOST for part in match.groups()):
            self.fail(f"{value!r} is not like 1769162405000-0: `streamproc dead-letters list` shows ids", param, ctx)
        return match[0]


LETTER_ID: Final = _LetterId()
reason_option: Final = click.option(
    "--reason", type=click.Choice([str(reason) for reason in Reason]), help="Only letters with this reason."
)
shard_option: Final = click.option(
    "--shard", type=click.IntRange(0), help="The shard of these ids, where several have the same."
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


def run(work: Callable[[Stores, Settings], Awaitable[T]], unfinished: str = "") -> T:
    """Do something with the dead letters of all shards, and say what failed in a person's words.

    Args:
        unfinished: what a failure leaves undone, and what to do about it.
    """
    settings = load_settings()
    set_up_log(settings)
    with explained(settings, unfinished):
        return interruptible(_connected(work, settings))


async def _connected(work: Callable[[Stores, Settings], Awaitable[T]], settings: Settings) -> T:
    connections = Connections(settings)
    try:
        await connections.check_layout()
        return await work([DeadLetterStore(shard) for shard in connections.shards], settings)
    finally:
        await connections.close()


def of_shard(stores: Stores, shard: int | None) -> Stores:
    """The stores to look through. Raises click.UsageError where there is no such shard."""
    if shard is None:
        return stores
    if shard >= len(stores):
        raise click.UsageError(f"--shard {shard}: the shards are 0 to {len(stores) - 1}")
    return [stores[shard]]
