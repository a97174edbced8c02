"""What each process does all its life: a role's `run_once`, again and again, as the worker's services do it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from streamproc.core.erasures import State
from streamproc.roles.consumer import Consumer
from streamproc.roles.eraser import Eraser, ErasureIncomplete
from streamproc.stores.redis.entries import Batch

from .faults import pause
from .world import World

_CONSUMER_PAUSE_MS: Final = 500
_FLUSHER_PAUSE_MS: Final = 1_000
_JANITOR_PAUSE_MS: Final = 3_000
_OBSERVER_PAUSE_MS: Final = 1_000
_ERASER_PAUSE_MS: Final = 1_500
_BACK_OFF_MS: Final = 200
_CLAIM_EVERY_MS: Final = 2_000


class LedgerDoesNotBalance(AssertionError):
    """The observer saw entries that no term of the ledger accounts for."""


async def consume(world: World, name: str) -> None:
    """A consumer that reads one batch ahead: a batch is committed when the next has been read."""
    stream, consumer = world.stream(name), world.consumer(name)
    batch: Batch | None = None
    claims_at_ms = 0
    await pause(0)
    while True:
        if claims_at_ms <= world.clock.now_ms:
            claims_at_ms = world.clock.now_ms + _CLAIM_EVERY_MS
            consumer.look_for_abandoned()
        try:
            before, batch = batch, None
            batch = await consumer.next_batch()
            if before is not None:
                await _commit(consumer, before)
        except RedisError as error:
            consumer.doubt()
            await pause(_BACK_OFF_MS)
            if str(error).startswith("NOGROUP"):
                await _make_group(stream)
            continue
        if not batch.entries:
            batch = None
            await pause(_CONSUMER_PAUSE_MS)


async def _commit(consumer: Consumer, batch: Batch) -> None:
    await consumer.commit(await consumer.plan(batch))


async def _make_group(stream: Any) -> None:
    try:
        await stream.ensure_group()
    except RedisError:
        await pause(_BACK_OFF_MS)


async def flush(world: World, _name: str) -> None:
    flusher = world.flusher()
    await _repeat(flusher.run_once, _FLUSHER_PAUSE_MS)


async def keep_house(world: World, _name: str) -> None:
    janitor = world.janitor()
    await _repeat(janitor.run_once, _JANITOR_PAUSE_MS)


async def observe(world: World, _name: str) -> None:
    """Whatever goes on, the ledger balances whenever one looks."""
    observer = world.observer()

    async def look() -> None:
        seen = await observer.run_once()
        if seen is not None and seen.ledger.imbalance() != 0:
            raise LedgerDoesNotBalance(f"imbalance {seen.ledger.imbalance()}: {seen.ledger}")

    await _repeat(look, _OBSERVER_PAUSE_MS)


async def erase(world: World, _name: str) -> None:
    """A worker's life; and, whenever somebody asks for it, that of the command that erases a user."""
    eraser = world.eraser()

    async def carry_out() -> None:
        if world.asked_for:
            await _erase(world, eraser)
        await eraser.run_once()

    await _repeat(carry_out, _ERASER_PAUSE_MS)


async def _erase(world: World, eraser: Eraser) -> None:
    """Whoever gets no answer asks again; whoever is asked and killed leaves it to the others, if it is written down."""
    user_id = world.asked_for.pop()
    try:
        erasure = await eraser.request(user_id)
    except PyMongoError:
        world.asked_for.append(user_id)
        raise
    while True:
        erasure = await eraser.advance(erasure)
        if erasure.state is not State.UNDER_WAY:
            return
        await pause(await eraser.wait_ms(erasure))


async def _repeat(run_once: Callable[[], Awaitable[int | None]], pause_ms: int) -> None:
    await pause(0)
    while True:
        try:
            more = await run_once()
        except (RedisError, PyMongoError, ErasureIncomplete):
            await pause(_BACK_OFF_MS)
        else:
            if not more:
                await pause(pause_ms)


LIVES: Final = {
    "consumer": consume,
    "flusher": flush,
    "janitor": keep_house,
    "observer": observe,
    "eraser": erase,
}
