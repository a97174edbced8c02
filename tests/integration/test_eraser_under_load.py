"""Everything at once, in an order that a seed decides; and at the end a search through every byte that is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from erasing import HOUR, LATER, VISIBILITY_MS, Erasing
from one_shard import OneShard, one_shard, segment

from streamproc.core.erasures import Erasure, State
from streamproc.embedded import EmbeddedServer

_STEPS = 150
_ASKED_FOR, _FIRST, _SECOND = 70, 80, 120


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


class Load:
    """The person and others publish; two consumers, which hold batches for long; a flusher; and the eraser."""

    def __init__(self, erasing: Erasing, rng: Random) -> None:
        self.erasing = erasing
        self.erasure: Erasure | None = None
        self._shard = erasing.shard
        self._rng = rng
        self._consumers = [self._shard.consumer(name) for name in ("alice", "bob")]
        self._held: list[tuple[Any, Any]] = []

    async def run(self) -> None:
        for step in range(_STEPS):
            if step == _ASKED_FOR:
                self.erasure = await self.erasing.eraser.request(self.erasing.user)
            if step in (_FIRST, _SECOND) and self.erasure:
                self.erasure = await self.erasing.eraser.advance(self.erasure)
                self.erasing.clock.now_ms += VISIBILITY_MS
            self._publish(step)
            await self._rng.choice([self._read, self._commit, self._flush])()
        while self._held:
            await self._commit()
        await self._shard.consume_all()
        await self.erasing.flush_all()

    def _publish(self, number: int) -> None:
        rng, erasing = self._rng, self.erasing
        session, start = f"s-{rng.randrange(3)}", rng.choice([HOUR, LATER])
        match rng.randrange(5):
            case 0 | 1:
                erasing.add(f"p-{number}", f"p-{number - 3}", session=session, start=start)
            case 2:
                self._shard.publish(segment(f"o-{number}", session, user_id=f"other-{rng.randrange(3)}"))
            case 3:
                erasing.add(f"bad-{number}", dubbing_ms=-1)
            case _:
                erasing.add_raw(f"of {erasing.user} nothing can be read".encode())

    async def _read(self) -> None:
        consumer = self._rng.choice(self._consumers)
        self._held.append((consumer, await consumer.next_batch()))

    async def _commit(self) -> None:
        if self._held:
            consumer, batch = self._held.pop(self._rng.randrange(len(self._held)))
            await consumer.commit(await consumer.plan(batch))

    async def _flush(self) -> None:
        await self._shard.flusher().run_once()


@pytest.mark.parametrize("seed", range(10))
async def test_after_an_erasure_under_load_no_byte_tells_who_it_was(shard: OneShard, seed: int) -> None:
    rng = Random(seed)
    users = ["dana", "דנה כהן", "a:b{c}%d", 'quo"te\\back', "user@example.com", "*[a-z]?"]
    erasing = Erasing(shard, rng.choice(users))
    # The bound is that of the present here: whatever the person publishes, it is covered.
    erasing.clock.now_ms = shard.now_ms()
    load = Load(erasing, rng)
    await load.run()
    assert load.erasure
    assert load.erasure.state is State.COMPLETE
    assert load.erasure.total("segments") > 0
    assert (await erasing.ledger())["erased"] > 0
    # What nobody can read became dead letters after the second pass, and is found when all is applied again.
    await erasing.eraser.erase_again()
    assert await erasing.traces() == []
    assert await erasing.eraser.look(load.erasure, erasing.user) == {}
    assert await erasing.others() == []
