"""The eraser: erases people from every layer, completes what was interrupted, and applies it all again in time.

One erasure is four steps, of which any prefix may be repeated, by any process:

    request   fix what is covered, and write it down with the id encrypted: from here on it will be carried out
    first     erase in every layer: Redis, where commits refuse the windows from now on, then what is stored of them
    second    the same, once a flush that was under way must have ended
    again     the same, for all erasures that can still matter: regularly, and whenever Redis is another than before

`advance` takes one step of one erasure, and nothing here ever waits: whoever calls it does. Each pass goes through all
layers. One that is away keeps the pass from being through, not the others from being erased.

The user's id leaves this module in no message and no exception: what a server says may repeat it, so of trouble only
its kind is told.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from streamproc.core.erasure_key import ErasureKey, WrongKey
from streamproc.core.erasures import Erasure, Pass, State, Subject, Tally, ask, newest_of_each, numbers
from streamproc.core.windows import Windowing
from streamproc.metrics import Metrics
from streamproc.stores.archive import failures as archive
from streamproc.stores.mongo import failures as mongo
from streamproc.stores.mongo.erasures import ErasureStore
from streamproc.stores.redis import failures as redis
from streamproc.stores.redis.erasure import ShardErasure

logger = logging.getLogger(__name__)

# What a layer raises that is away, or that refuses.
_TROUBLE: Final = (*redis.FAILURES, *mongo.FAILURES, *archive.FAILURES)
# A pod that dies while it applies all erasures again is replaced by another after this time.
_LEASE_MS: Final = 300_000


class ErasureIncomplete(RuntimeError):
    """Something could not be erased, and is tried again. The message names erasures and layers, never a person."""


class Layer(Protocol):
    """Something that holds data of users. Both calls may be repeated, and raise what `_TROUBLE` lists."""

    name: str

    async def erase(self, subjects: Sequence[Subject]) -> Sequence[Tally]: ...

    async def look(self, subject: Subject) -> Tally: ...


@dataclass(frozen=True, slots=True)
class ErasePolicy:
    """When an erasure is applied once more, and for how long that goes on."""

    flush_visibility_ms: int = 60_000
    measurement_retention_ms: int = 7_776_000_000
    again_ms: int = 3_600_000


class Eraser:
    """Erases from all shards and from everything that is stored of them. Any number of pods may do it at once.

    Args:
        others: layers beside the shards, passed after them.
    """

    def __init__(
        self,
        shards: Sequence[ShardErasure],
        others: Sequence[Layer],
        erasures: ErasureStore,
        key: ErasureKey,
        windowing: Windowing,
        metrics: Metrics,
        policy: ErasePolicy,
    ) -> None:
        self._shards = shards
        self._layers: list[Layer] = [*shards, *others]
        self._erasures = erasures
        self._key = key
        self._windowing = windowing
        self._metrics = metrics
        self._policy = policy

    # One erasure

    async def request(self, user_id: str) -> Erasure:
        """Ask for an erasure. When this returns it is written down, and any worker will carry it out.

        Raises:
            redis.exceptions.RedisError, pymongo.errors.PyMongoError: it may not be written down; ask again.
        """
        erasure = ask(
            secrets.token_hex(8),
            self._key.hash(user_id),
            self._key.seal(user_id, secrets.token_bytes(12)),
            await self._now_ms(),
            self._windowing,
            self._policy.measurement_retention_ms,
        )
        await self._erasures.add(erasure)
        logger.info("erasure %s: asked for", erasure.id)
        return erasure

    async def of_user(self, user_id: str) -> list[Erasure]:
        """All erasures of a user, the oldest first. Raises pymongo.errors.PyMongoError."""
        return await self._erasures.of_user(self._key.hash(user_id))

    async def advance(self, erasure: Erasure) -> Erasure:
        """Take the next step, if there is one and it is time. Returns how far the erasure has come.

        Trouble makes it incomplete: the step is to be taken again. It is told on what is returned, and on what is
        stored where that can be reached.
        """
        try:
            erasure = await self._erasures.load(erasure.id)
            try:
                return await self._advance(erasure)
            except redis.FAILURES as error:
                trouble = {"redis": _kind(error)}
            except WrongKey as error:
                trouble = {"key": str(error)}
            return await self._erasures.record(erasure.id, erasure.next_pass(), {}, trouble, 0)
        except mongo.FAILURES as error:
            return replace(erasure, trouble={"mongodb": _kind(error)})

    async def wait_ms(self, erasure: Erasure) -> int:
        """How long to wait before the next step. Raises redis.exceptions.RedisError."""
        return max(0, erasure.due_at_ms(self._policy.flush_visibility_ms) - await self._now_ms())

    async def look(self, erasure: Erasure, user_id: str) -> dict[str, dict[str, int]]:
        """Look in every layer for what the erasure covers of its user, and change nothing. {}: nothing is there.

        Raises:
            redis.exceptions.RedisError, pymongo.errors.PyMongoError: nothing can be said.
        """
        subject = Subject(user_id, erasure.user_hash, erasure.covered_start_ms, erasure.requested_at_ms)
        looked = {layer.name: numbers(await layer.look(subject)) for layer in self._layers}
        found = {name: {what: number for what, number in tally.items() if number} for name, tally in looked.items()}
        return {name: tally for name, tally in found.items() if tally}

    async def _advance(self, erasure: Erasure) -> Erasure:
        if erasure.state is State.COMPLETE or await self.wait_ms(erasure):
            return erasure
        which, subject = erasure.next_pass(), self._subject(erasure)
        (tallies,), trouble = await self._apply([subject])
        at_ms = 0 if trouble else await self._now_ms()
        await self._tell(tallies)
        logger.info("erasure %s: %s pass %s", erasure.id, which, f"kept from {_listed(trouble)}" if trouble else "done")
        return await self._erasures.record(erasure.id, which, tallies, trouble, at_ms)

    # All of them

    async def run_once(self) -> None:
        """Go on with every erasure that is not complete, and apply all of them again when it is time.

        Raises:
            ErasureIncomplete: a layer was away, or refused.
            redis.exceptions.RedisError, pymongo.errors.PyMongoError: call again.
        """
        advanced = [await self.advance(one) for one in await self._erasures.unfinished()]
        self._metrics.erasures_unfinished.set(sum(one.state is not State.COMPLETE for one in advanced))
        turns = [(shard, turn) for shard in self._shards if (turn := await shard.take_turn(_LEASE_MS))]
        if turns:
            await self.erase_again()
            for shard, turn in turns:
                await shard.end_turn(turn, self._policy.again_ms)
        if incomplete := [one for one in advanced if one.trouble and one.state is not State.COMPLETE]:
            raise ErasureIncomplete("; ".join(f"erasure {one.id}: {_listed(one.trouble)}" for one in incomplete))

    async def erase_again(self) -> int:
        """Apply every erasure that can still matter. Returns how much was found that had been gone.

        Raises:
            ErasureIncomplete: a layer was away, or refused; the others are done.
            redis.exceptions.RedisError, pymongo.errors.PyMongoError: call again.
        """
        now_ms = await self._now_ms()
        erasures, subjects, trouble = [], [], {}
        for one in newest_of_each(await self._erasures.live(now_ms)):
            try:
                subjects.append(self._subject(one))
            except WrongKey as error:
                trouble[f"erasure {one.id}"] = str(error)
            else:
                erasures.append(one)
        found, away = await self._apply(subjects)
        total = 0
        for erasure, tallies in zip(erasures, found, strict=True):
            total += await self._record_again(erasure, tallies, now_ms)
        await self._forget(now_ms)
        if trouble or away:
            raise ErasureIncomplete(_listed({**trouble, **away}))
        return total

    async def _record_again(self, erasure: Erasure, tallies: Mapping[str, Tally], now_ms: int) -> int:
        number = sum(sum(numbers(tally).values()) for tally in tallies.values())
        if number:
            await self._tell(tallies)
            await self._erasures.record(erasure.id, Pass.AGAIN, tallies, {}, now_ms)
            self._metrics.erased_again.inc(number)
            logger.warning("erasure %s: %d things had come back, and are erased again", erasure.id, number)
        return number

    async def _tell(self, tallies: Mapping[str, Tally]) -> None:
        """Let answers know, once it is gone from all layers. They forget within a minute anyway."""
        if any(any(numbers(tally).values()) for tally in tallies.values()):
            with suppress(*redis.FAILURES):
                await self._shards[0].tell(secrets.token_hex(8))

    async def _forget(self, now_ms: int) -> None:
        """Let go of ids and tombstones that are older than anything that could bring their user back."""
        await self._erasures.forget_ids(now_ms)
        kept_ms = self._policy.measurement_retention_ms + self._windowing.forgettable_at(0)
        for shard in self._shards:
            await shard.forget_tombstones(now_ms - kept_ms)

    async def _apply(self, subjects: Sequence[Subject]) -> tuple[list[dict[str, Tally]], dict[str, str]]:
        """Pass through all layers. Returns for each subject what was found where, and what kept it from which layer."""
        found: list[dict[str, Tally]] = [{} for _ in subjects]
        trouble = {}
        for layer in self._layers:
            try:
                tallies = await layer.erase(subjects)
            except _TROUBLE as error:
                trouble[layer.name] = _kind(error)
                continue
            for of_subject, tally in zip(found, tallies, strict=True):
                of_subject[layer.name] = tally
        return found, trouble

    def _subject(self, erasure: Erasure) -> Subject:
        """Raises WrongKey."""
        if erasure.sealed is None:
            raise WrongKey("the id is not kept any more: the erasure is older than all that it could be about")
        user_id = self._key.unseal(erasure.sealed, erasure.user_hash)
        return Subject(user_id, erasure.user_hash, erasure.covered_start_ms, erasure.requested_at_ms)

    async def _now_ms(self) -> int:
        """The latest time of all shards: their servers' clocks may differ."""
        return max([await shard.now_ms() for shard in self._shards])


def _kind(error: Exception) -> str:
    """What kind of trouble it is, in our words: the server's own may repeat what it was asked about."""
    if isinstance(error, archive.ArchiveTrouble):
        return error.explanation.cause
    found = mongo.explain(error) if isinstance(error, mongo.FAILURES) else redis.explain(error)
    return found.cause


def _listed(trouble: Mapping[str, str]) -> str:
    return ", ".join(f"{where}: {what}" for where, what in trouble.items())
