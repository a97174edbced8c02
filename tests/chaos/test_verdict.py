"""The judges of chaos are judged: each kind of wrong is seen, and counted under its name."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from streamproc.core.windows import Windowing, WindowKey
from streamproc.demo.oracle import Kind, Oracle, Truth
from streamproc.stores.redis.connect import connect

from .soak import Sample, growth
from .survivors import Survivors
from .verdict import tally

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
WINDOWING = Windowing()
TAGGED = "dubbing:{0}:"
Document = dict[str, Any]


def segment(number: int) -> Document:
    return {
        "segment_id": f"seg-{number}",
        "channel_id": "kan-11",
        "session_id": "s-1",
        "user_id": "dana",
        "received_at": HOUR + timedelta(seconds=number),
        "extraction_ms": 40.0 + number**2,
        "dubbing_ms": 1100.0,
        "reinsertion_ms": 55.0,
        "source_language": "he",
        "target_language": "en",
    }


def document(numbers: Iterable[int], *, write: int = 1) -> Document:
    truth = Truth()
    for number in numbers:
        truth.add(segment(number))
    metadata = {"hour": HOUR, "channel_id": "kan-11", "session_id": "s-1", "user_id": "dana"}
    return {"metadata": {**metadata, "revision": len(truth.segment_ids), "write": write}, **truth.fields()}


def verdict_on(documents: Sequence[Document]) -> tuple[int, ...]:
    """Of three published segments: lost, counted twice, wrong, several, ledger."""
    oracle = Oracle(3600)
    for number in range(3):
        oracle.record(Kind.GOOD, segment(number))
    return tally(oracle.compare(documents), lambda _window: 3).numbers


def test_an_exact_window_counts_nowhere() -> None:
    assert verdict_on([document(range(3))]) == (0, 0, 0, 0, 0)


def test_a_missing_window_has_lost_all_its_segments() -> None:
    assert verdict_on([]) == (3, 0, 0, 0, 0)


def test_a_missing_segment_is_lost() -> None:
    assert verdict_on([document(range(2))]) == (1, 0, 0, 0, 0)


def test_a_segment_too_many_is_counted_twice() -> None:
    assert verdict_on([document(range(4))]) == (0, 1, 0, 0, 0)


def test_another_sum_is_wrong() -> None:
    changed = copy.deepcopy(document(range(3)))
    changed["sum_dubbing_ms"] += 1
    assert verdict_on([changed]) == (0, 0, 1, 0, 0)


def test_two_measurements_of_one_window_are_several() -> None:
    assert verdict_on([document(range(2)), document(range(3), write=2)]) == (0, 0, 0, 1, 0)


def test_a_window_that_nobody_published_is_wrong() -> None:
    strange = document(range(3))
    strange["metadata"] = {**strange["metadata"], "session_id": "s-2"}
    assert verdict_on([document(range(3)), strange]) == (0, 0, 1, 0, 0)


# Where Redis forgot


class Forgetful:
    """A Redis that held segments 0 to 5 when it was given up, and its successor, which holds what it is told."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.survivors = Survivors(WINDOWING, TAGGED)
        key = WindowKey(int(HOUR.timestamp()) * 1000, "kan-11", "s-1", "dana")
        self.segments = f"{TAGGED}segment:{WINDOWING.name(key)}"

    async def hold(self, numbers: Iterable[int]) -> None:
        await self.client.delete(self.segments)
        for number in numbers:
            await self.client.execute_command("HSET", self.segments, f"seg-{number}", "")

    async def add(self, *numbers: int) -> None:
        """Entries in the stream."""
        for number in numbers:
            payload = f'{{"session_id": "s-1", "segment_id": "seg-{number}"}}'
            await self.client.execute_command("XADD", f"{TAGGED}segments", "*", "data", payload)

    async def verdict_on(self, *documents: Document) -> tuple[int, ...]:
        return tally(await self.survivors.compare(self.client, documents), lambda _window: 0).numbers


@pytest.fixture
async def forgetful(redis_url: str) -> Any:
    client = connect(redis_url)
    one = Forgetful(client)
    for number in range(8):
        one.survivors.record(Kind.GOOD, segment(number))
    await one.hold(range(6))
    await one.survivors.give_up(client)
    yield one
    await client.flushall()
    await client.aclose()


async def test_what_redis_holds_in_the_end_is_to_be_stored(forgetful: Forgetful) -> None:
    await forgetful.hold([0, 1, 7])
    assert await forgetful.verdict_on(document([0, 1, 7])) == (0, 0, 0, 0, 0)
    assert await forgetful.verdict_on(document([0, 1])) == (1, 0, 0, 0, 0)


async def test_an_hour_stored_before_redis_forgot_is_kept(forgetful: Forgetful) -> None:
    await forgetful.hold([0, 1, 7])
    assert await forgetful.verdict_on(document(range(6))) == (0, 0, 0, 0, 0)
    assert await forgetful.verdict_on(document([0, 2, 3, 5])) == (0, 0, 0, 0, 0)


async def test_more_segments_than_redis_holds_must_have_been_held_once(forgetful: Forgetful) -> None:
    await forgetful.hold([0, 1, 7])
    assert await forgetful.verdict_on(document([2, 3, 4, 6])) == (0, 1, 0, 0, 0)


async def test_fewer_segments_than_survived_are_never_accepted(forgetful: Forgetful) -> None:
    await forgetful.hold([0, 1, 2, 3, 7])
    assert await forgetful.verdict_on(document([0, 1, 2])) == (2, 0, 0, 0, 0)


async def test_of_a_window_that_redis_lost_what_was_stored_is_kept(forgetful: Forgetful) -> None:
    await forgetful.hold([])
    assert await forgetful.verdict_on() == (0, 0, 0, 0, 0)
    assert await forgetful.verdict_on(document(range(5))) == (0, 0, 0, 0, 0)
    assert await forgetful.verdict_on(document([6, 7])) == (0, 0, 1, 0, 0)


async def test_an_entry_that_survived_must_have_been_counted(forgetful: Forgetful) -> None:
    await forgetful.hold([0, 1])
    await forgetful.add(0, 1, 7)
    assert await forgetful.verdict_on(document([0, 1])) == (1, 0, 0, 0, 0)


async def test_a_segment_that_nobody_published_is_wrong(forgetful: Forgetful) -> None:
    await forgetful.hold([0, 1, 99])
    assert await forgetful.verdict_on(document([0, 1])) == (0, 0, 1, 0, 0)


async def test_kept_or_not_a_window_has_one_measurement(forgetful: Forgetful) -> None:
    await forgetful.hold([0])
    twins = document(range(6)), document(range(6), write=2)
    assert (await forgetful.verdict_on(*twins))[3] == 1


# Soak


def _samples(keys: Iterable[int]) -> list[Sample]:
    return [Sample(80_000_000, 5_000_000, number, 100, 10, 30, 90, 2) for number in keys]


def test_what_stands_still_is_bounded() -> None:
    assert all(row.bounded for row in growth(_samples([500, 520, 480] * 30)))


def test_what_grows_steadily_is_not() -> None:
    grown = [row.name for row in growth(_samples(range(500, 1400, 10))) if not row.bounded]
    assert grown == ["keys"]
