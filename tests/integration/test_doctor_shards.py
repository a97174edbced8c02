"""The doctor and a shard's data: strangers, other settings, missing groups, work that nobody does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from doctoring import KEYS, agree, client, of_redis, settings_of

from streamproc.app.checkup.diagnosis import Verdict

GREEN, YELLOW, RED, UNKNOWN = Verdict
GROUP, STREAM = "streamproc", KEYS.stream


@pytest.fixture
async def valkey_client(redis_url: str) -> AsyncIterator[Any]:
    """A client of a server on which stream, group and layout have been made."""
    await agree(settings_of(redis_url))
    with client(redis_url) as one:
        yield one


def add(redis: Any, number: int = 1) -> list[str]:
    return [redis.xadd(STREAM, {"data": "{}"}).decode() for _ in range(number)]


def read(redis: Any, consumer: str = "pod-1") -> None:
    redis.xreadgroup(GROUP, consumer, {STREAM: ">"})


async def test_a_server_without_data_asks_for_init(redis_url: str) -> None:
    found = await of_redis(redis_url)
    for check in ("layout", "group"):
        diagnosis = found.one(check)
        assert (diagnosis.verdict, diagnosis.remedy) == (YELLOW, "Run streamproc init, or start a worker")


async def test_after_init_only_a_worker_is_missing(redis_url: str, valkey_client: Any) -> None:
    (shard,) = [one for one in (await of_redis(redis_url)).sections if one.subject.startswith("Shard")]
    assert shard.subject == "Shard 0, dubbing:{0}:segments"
    verdicts = {one.check: one.verdict for one in shard.diagnoses}
    assert verdicts.pop("workers") == YELLOW
    assert set(verdicts.values()) == {GREEN}


async def test_a_counter_that_another_program_overwrote_is_named(redis_url: str, valkey_client: Any) -> None:
    valkey_client.hset(KEYS.ledger, "counted", "many")
    diagnosis = (await of_redis(redis_url)).one("keys")
    assert (diagnosis.verdict, "field 'counted'" in diagnosis.found) == (RED, True)


async def test_a_key_that_another_program_uses_is_named(redis_url: str, valkey_client: Any) -> None:
    valkey_client.delete(KEYS.ledger)
    valkey_client.set(KEYS.ledger, "mine")
    diagnosis = (await of_redis(redis_url)).one("keys")
    assert (diagnosis.verdict, diagnosis.found) == (RED, "dubbing:{0}:ledger is a string, not a hash")
    assert "STREAMPROC_PREFIX" in diagnosis.remedy


@pytest.mark.parametrize("other", [{"shards": 2}, {"window_seconds": 60}])
async def test_other_settings_than_those_of_the_data_are_named(
    redis_url: str, valkey_client: Any, other: dict[str, int]
) -> None:
    diagnosis = (await of_redis(redis_url, **other)).all("layout")[0]
    assert diagnosis.verdict == RED
    assert "STREAMPROC_SHARDS=1 and STREAMPROC_WINDOW_SECONDS=3600" in diagnosis.remedy


async def test_another_erasure_key_than_that_of_the_workers_is_named(redis_url: str, valkey_client: Any) -> None:
    diagnosis = (await of_redis(redis_url, erasure_key="another key of sixteen")).one("erasure key")
    assert diagnosis.verdict == RED
    assert "STREAMPROC_ERASURE_KEY" in diagnosis.remedy


async def test_a_group_that_is_missing_is_red(redis_url: str, valkey_client: Any) -> None:
    valkey_client.xgroup_destroy(STREAM, GROUP)
    diagnosis = (await of_redis(redis_url)).one("group")
    assert (diagnosis.verdict, diagnosis.found) == (RED, "there is a stream, and no group")


async def test_entries_that_wait_without_a_worker_are_red(redis_url: str, valkey_client: Any) -> None:
    add(valkey_client)
    assert (await of_redis(redis_url)).one("workers").verdict == RED


async def test_whoever_was_given_entries_lately_is_a_worker(redis_url: str, valkey_client: Any) -> None:
    add(valkey_client)
    read(valkey_client, "pod-7")
    diagnosis = (await of_redis(redis_url)).one("workers")
    assert (diagnosis.verdict, "pod-7" in diagnosis.found) == (GREEN, True)


async def test_whoever_told_lately_how_it_is_is_a_worker(redis_url: str, valkey_client: Any) -> None:
    seconds, _ = valkey_client.time()
    valkey_client.zadd(KEYS.heard, {"pod-8": int(seconds) * 1000})
    diagnosis = (await of_redis(redis_url)).one("workers")
    assert (diagnosis.verdict, diagnosis.found) == (GREEN, "1: pod-8")


async def test_entries_that_nobody_takes_over_are_red(redis_url: str, valkey_client: Any) -> None:
    add(valkey_client, 2)
    read(valkey_client)
    # As if they had been delivered an hour ago: https://redis.io/docs/latest/commands/xclaim/
    ids = [one["message_id"] for one in valkey_client.xpending_range(STREAM, GROUP, "-", "+", 10)]
    valkey_client.xclaim(STREAM, GROUP, "pod-1", 0, ids, idle=3_600_000)
    diagnosis = (await of_redis(redis_url)).one("pending")
    assert (diagnosis.verdict, diagnosis.found.startswith("2 entries pending for over 180 s")) == (RED, True)


async def test_entries_added_long_ago_hold_the_watermark(redis_url: str, valkey_client: Any) -> None:
    long_ago_ms = int(valkey_client.time()[0]) * 1000 - 7_200_000
    valkey_client.xadd(STREAM, {"data": "{}"}, id=f"{long_ago_ms}-0")
    diagnosis = (await of_redis(redis_url)).one("watermark")
    assert diagnosis.verdict == RED
    assert float(diagnosis.found.split()[0]) >= 7200


async def test_a_window_that_is_overdue_is_red(redis_url: str, valkey_client: Any) -> None:
    valkey_client.zadd(KEYS.open, {"2020010100:kan-11:s-1:dana": 1_577_840_520_000})
    diagnosis = (await of_redis(redis_url)).one("windows")
    assert (diagnosis.verdict, diagnosis.found.startswith("1 overdue, the first for ")) == (RED, True)
    assert "MongoDB" in diagnosis.remedy


async def test_a_window_whose_flusher_is_long_gone_is_overdue_too(redis_url: str, valkey_client: Any) -> None:
    valkey_client.zadd(KEYS.taken, {"2020010100:kan-11:s-1:dana": 1_577_840_520_000})
    assert (await of_redis(redis_url)).one("windows").found.startswith("1 overdue")


async def test_an_entry_deleted_before_it_was_counted_is_missed(redis_url: str, valkey_client: Any) -> None:
    valkey_client.xdel(STREAM, *add(valkey_client))
    diagnosis = (await of_redis(redis_url)).one("ledger")
    assert (diagnosis.verdict, diagnosis.found) == (RED, "1 entries are not accounted for")


async def test_lost_entries_are_red_for_as_long_as_the_ledger_tells(redis_url: str, valkey_client: Any) -> None:
    read(valkey_client)
    valkey_client.xdel(STREAM, *add(valkey_client))
    valkey_client.hset(KEYS.ledger, "lost", 1)
    diagnosis = (await of_redis(redis_url)).one("ledger")
    assert (diagnosis.verdict, diagnosis.found) == (RED, "1 entries lost in this epoch")


async def test_every_shard_has_a_section_of_its_own(redis_url: str) -> None:
    await agree(settings_of(redis_url, shards=2))
    found = await of_redis(redis_url, shards=2)
    subjects = [one.subject for one in found.sections if one.subject.startswith("Shard")]
    assert subjects == ["Shard 0, dubbing:{0}:segments", "Shard 1, dubbing:{1}:segments"]
    assert [one.verdict for one in found.all("layout")] == [GREEN, GREEN]
