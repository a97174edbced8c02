"""Which dead letters a command is about. Fixed when it begins: what becomes a letter meanwhile is not among them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import click

from streamproc.cli.dead_letters.access import Stores, of_shard
from streamproc.stores.redis.dead_letters import PAGE, DeadLetterStore, Letter


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked for: letters by id, or all that have this reason and this age."""

    ids: Sequence[str] = ()
    shard: int | None = None
    reason: str | None = None
    older_than_s: float | None = None

    async def fix(self, stores: Stores) -> Selection:
        """Find the ids, or the last letter of each shard."""
        if self.ids:
            return await _of_ids(stores, self.ids, self.shard)
        bounds = {store.number: await self._until(store) for store in stores}
        return Selection(bounds, self.reason, most=sum([await store.length() for store in stores]))

    async def _until(self, store: DeadLetterStore) -> str:
        if self.older_than_s is None:
            return await store.newest()
        return str(max(0, (await store.standing()).now_ms - round(self.older_than_s * 1000)))


@dataclass(frozen=True, slots=True)
class Selection:
    """Letters of all shards.

    Attributes:
        bounds: up to which letter, by shard.
        reason: only these.
        named: those that were asked for by id, by shard.
        unknown: ids of which there is no letter.
        most: not more than so many are looked at.
    """

    bounds: Mapping[int, str] = field(default_factory=dict)
    reason: str | None = None
    named: Mapping[int, Sequence[Letter]] = field(default_factory=dict)
    unknown: Sequence[str] = ()
    most: int = 0

    async def pages(self, stores: Stores) -> AsyncIterator[tuple[DeadLetterStore, list[Letter], int]]:
        """Shard by shard, oldest first: the letters of a page that are selected, and how many were looked at."""
        for store in stores:
            letters = self.named.get(store.number, ())
            for first in range(0, len(letters), PAGE):
                page = list(letters[first : first + PAGE])
                yield store, page, len(page)
            async for page in store.oldest_first(self.bounds.get(store.number, "")):
                yield store, [one for one in page if self.reason in (None, one.reason)], len(page)


async def _of_ids(stores: Stores, ids: Sequence[str], shard: int | None) -> Selection:
    named: dict[int, list[Letter]] = {}
    unknown = []
    for letter_id in sorted(set(ids), key=_as_number):
        letter = await find(stores, letter_id, shard)
        if letter is None:
            unknown.append(letter_id)
        else:
            named.setdefault(letter.shard, []).append(letter)
    return Selection(named=named, unknown=unknown, most=sum(map(len, named.values())))


async def find(stores: Stores, letter_id: str, shard: int | None) -> Letter | None:
    """A letter by its id. Raises click.UsageError where several shards have one."""
    found = [letter for store in of_shard(stores, shard) if (letter := await store.find(letter_id))]
    if len(found) > 1:
        shards = ", ".join(str(letter.shard) for letter in found)
        raise click.UsageError(
            f"there is a dead letter {letter_id} in each of the shards {shards}: choose with --shard"
        )
    return found[0] if found else None


def require_one_kind(ids: Sequence[str], shard: int | None, *, others: bool, options: str) -> None:
    """Raises click.UsageError unless letters are asked for either by id or by an option."""
    if ids and others:
        raise click.UsageError(f"give ids, or {options}, not both")
    if not ids and not others:
        raise click.UsageError(f"say which: ids, or {options}")
    if shard is not None and not ids:
        raise click.UsageError("--shard is for ids")


def tell_unknown(ids: Sequence[str]) -> None:
    for letter_id in ids:
        click.echo(
            f"Error: there is no dead letter {letter_id}: it was replayed or dropped, its time is up, or its user was "
            "erased. `streamproc dead-letters list` shows what is there",
            err=True,
        )


def _as_number(letter_id: str) -> tuple[int, int]:
    ms, _, sequence = letter_id.partition("-")
    return int(ms), int(sequence)
