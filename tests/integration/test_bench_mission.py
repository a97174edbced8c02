"""`make bench-mission` at a tiny scale: both options come to the same figures, and a difference is found."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bench.memory import WINDOWING
from bench.mission import page, report
from bench.mission.data import HOUR_MS, Scale, segments_of
from bench.mission.load import disagreeing_windows, load
from bench.mission.measure import Plan, measure
from bench.mission.option_a import OPTION_A
from bench.mission.questions import ASKED, ask
from bench.mission.redis_side import disagreeing
from pymongo.asynchronous.database import AsyncDatabase

from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.connect import connect

_TINY = Plan(users=3, small_users=1, days=1, segments_an_hour=6, job_windows=4, rounds=2, cache_gb=0.25)


@pytest.fixture
async def database(mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    async with connect(mongod.url, app_name="tests") as client:
        yield client[mongo_database_name]


@pytest.fixture
def scale() -> Scale:
    return _TINY.scale(2, time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS)


async def test_both_options_agree_and_fill_the_page_in_the_form_that_it_has() -> None:
    results = await measure(_TINY, lambda _: None)
    assert results.wrong == 0
    assert results.large.option_a.documents == results.large.segments == 3 * 24 * 6
    assert results.large.ours.documents == 3 * 24
    assert [job.windows for job in (*results.redis.review, *results.redis.ours)] == [1, 4, 1, 4]

    measured, recorded = report.tables(results), report.tables(page.recorded())
    assert [table.name for table in measured] == page.blocks(page.PAGE.read_text())
    for now, then in zip(measured, recorded, strict=True):
        assert [row[0] for row in now.rows] == [row[0] for row in then.rows], now.name
        assert {len(row) for row in now.rows} == {len(now.heads)} == {len(then.heads)}, now.name


def test_the_hour_that_is_flushed_is_due_at_once_however_lately_it_ended() -> None:
    for minutes in (0, 1, 2, 59):
        added_ms = 2 * HOUR_MS + minutes * 60_000
        assert WINDOWING.due_at(HOUR_MS, added_ms) <= added_ms + 1


async def test_a_segment_that_is_missing_in_one_option_is_found(
    database: AsyncDatabase[dict[str, Any]], scale: Scale
) -> None:
    await load(database, scale, lambda _: None)
    assert await disagreeing_windows(database, scale) == 0
    assert (await ask(database, scale, ASKED[0], 1)).agree

    last = segments_of(scale, scale.keys(scale.hours[-1])[0])[-1]
    selected = OPTION_A.of_user(scale.user(0), last.received_at_ms, last.received_at_ms + 1)
    assert (await database[OPTION_A.collection].delete_one(selected)).deleted_count == 1

    assert await disagreeing_windows(database, scale) == 1
    assert not (await ask(database, scale, ASKED[0], 1)).agree


async def test_a_measurement_that_is_missing_is_found(database: AsyncDatabase[dict[str, Any]], scale: Scale) -> None:
    await load(database, scale, lambda _: None)
    await database["dubbing_metrics_ts"].delete_many({"metadata.user_id": scale.user(1)})
    assert await disagreeing_windows(database, scale) == 24


def test_two_jobs_that_come_to_other_measurements_are_found() -> None:
    figures = {"segments_processed": 240, "error_count": 2, "retry_count": 1, "avg_total_ms": 1200.0}
    one = {**figures, "total_original_bytes": 5, "total_dubbed_bytes": 6}
    assert disagreeing({"s-1": one}, {"s-1": {**one, "avg_total_ms": 1200.009}}) == 0
    assert disagreeing({"s-1": one}, {"s-1": {**one, "error_count": 3}}) == 1
    assert disagreeing({"s-1": one}, {"s-1": {**one, "avg_total_ms": 1201.0}}) == 1
    assert disagreeing({"s-1": one, "s-2": one}, {"s-1": one}) == 1
