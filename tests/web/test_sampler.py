"""The sampler: one look for all, more often while somebody watches; and what flowed between looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from streamproc.answers.overview_results import (
    DeadLetters,
    FlushState,
    LiveState,
    Overview,
    ServerState,
    SettingsShown,
    ShardState,
    WorkerState,
)
from streamproc.web.sampler import Sampler, between

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
UP = ServerState(up=True, address="here")


def seen(at_s: float = 0, *shards: ShardState, **errors: int) -> Overview:
    """An overview so many seconds after noon. `errors`: of each worker."""
    return Overview(
        at=NOON + timedelta(seconds=at_s),
        version="1",
        verdict="healthy",
        troubles=[],
        redis=UP,
        mongodb=UP,
        settings=SettingsShown(
            window_seconds=3600, grace_seconds=120, claim_idle_seconds=60, shards=len(shards), prefix="dubbing"
        ),
        workers=[_worker(name, number) for name, number in errors.items()],
        shards=list(shards),
        missing_shards=[],
        flush=FlushState(),
        dead_letters=DeadLetters(),
        live=LiveState(),
    )


def _worker(name: str, errors: int) -> WorkerState:
    return WorkerState(
        name=name,
        version="1",
        started_at=NOON,
        seen_at=NOON,
        silent=False,
        ready=True,
        troubles=[],
        counted=0,
        errors=errors,
        duplicates=0,
        dead_lettered=0,
        flushed=0,
        shrunk=0,
        diverged=0,
        refused=0,
    )


def shard(number: int = 0, counted: int = 0, duplicates: int = 0, epoch: int = 1) -> ShardState:
    return ShardState(
        shard=number,
        lag_entries=0,
        lag_known=True,
        lag_seconds=0,
        pending=0,
        oldest_pending_seconds=0,
        watermark_at=NOON,
        watermark_delay_seconds=0,
        stream_entries=0,
        open=0,
        due=0,
        overdue_seconds=0,
        taken=0,
        closed=0,
        dead_letters=0,
        consumers=1,
        epoch=epoch,
        ledger={"counted": counted, "duplicates": duplicates, "undelivered": None},
        imbalance=0,
    )


def test_what_flowed_is_the_difference_of_two_looks_in_a_second() -> None:
    earlier = seen(0, shard(0, 100, 10), shard(1, 50), a=4, b=1)
    flowed = between(earlier, seen(2, shard(0, 110, 11), shard(1, 60), a=5, b=2))
    assert flowed is not None
    assert (flowed.segments_per_s, flowed.duplicates_per_s, flowed.errors_per_s) == (10, 0.5, 1)
    assert flowed.at == NOON + timedelta(seconds=2)


def test_nothing_can_be_said_where_a_ledger_began_anew_or_redis_was_away() -> None:
    assert between(seen(0, shard(counted=100)), seen(2, shard(counted=3, epoch=2))) is None
    assert between(seen(0), seen(2, shard(counted=100))) is None
    assert between(seen(0, shard(counted=100)), seen(2)) is None
    assert between(seen(0, shard(0)), seen(2, shard(0), shard(1, 100))) is None
    assert between(seen(2, shard(counted=100)), seen(2, shard(counted=200))) is None


def test_a_worker_that_comes_or_goes_brings_no_errors_of_its_past() -> None:
    flowed = between(seen(0, shard(), old=1000, kept=5), seen(1, shard(), new=500, kept=7))
    assert flowed is not None
    assert flowed.errors_per_s == 2


def test_a_restored_ledger_flows_by_nothing_rather_than_backwards() -> None:
    flowed = between(seen(0, shard(counted=100), a=9), seen(1, shard(counted=40), a=3))
    assert flowed is not None
    assert (flowed.segments_per_s, flowed.errors_per_s) == (0, 0)


class Looks:
    """Looks that a test lets happen, each two seconds after the one before and ten segments richer."""

    def __init__(self) -> None:
        self.taken = 0
        self.now_s = 0.0
        self.allowed = asyncio.Semaphore(0)
        self.sampler = Sampler(self._look, lambda: self.now_s)

    async def _look(self) -> Overview:
        await self.allowed.acquire()
        self.taken += 1
        return seen(2 * self.taken, shard(counted=10 * self.taken))

    async def take(self, number: int = 1) -> None:
        """Let so many looks happen, one after another, each wanted by somebody."""
        for _ in range(number):
            self.now_s += 10
            asking = asyncio.create_task(self.sampler.latest())
            self.allowed.release()
            await asking


@asynccontextmanager
async def looks() -> AsyncIterator[Looks]:
    one = Looks()
    running = asyncio.create_task(one.sampler.run())
    try:
        yield one
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_whoever_asks_first_waits_for_the_first_look_and_all_share_it() -> None:
    async with looks() as one:
        assert one.sampler.last is None
        asking = [asyncio.create_task(one.sampler.latest()) for _ in range(5)]
        one.allowed.release()
        assert [answer.at for answer in await asyncio.gather(*asking)] == [NOON + timedelta(seconds=2)] * 5
        assert one.taken == 1


async def test_a_fresh_look_is_told_again_without_another() -> None:
    async with looks() as one:
        await one.take()
        await asyncio.gather(*(one.sampler.latest() for _ in range(5)))
        assert one.taken == 1


async def test_a_look_of_long_ago_is_taken_again_for_who_asks() -> None:
    async with looks() as one:
        await one.take(2)
        assert one.taken == 2
        answer = await one.sampler.latest()
        assert [flowed.segments_per_s for flowed in answer.throughput] == [5]


async def test_of_what_flowed_ten_minutes_are_kept() -> None:
    async with looks() as one:
        await one.take(400)
        answer = await one.sampler.latest()
        assert len(answer.throughput) == 301
        assert answer.throughput[-1].at == answer.at
        assert answer.at - answer.throughput[0].at == timedelta(minutes=10)


async def test_a_look_that_fails_ends_it_with_its_error() -> None:
    class Odd(Exception):
        pass

    async def look() -> Overview:
        raise Odd

    (ended,) = await asyncio.gather(Sampler(look).run(), return_exceptions=True)
    assert isinstance(ended, Odd)
