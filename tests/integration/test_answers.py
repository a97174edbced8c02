"""What the questions answer on real servers: numbers, rows, names, bounds, clients."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from answering import CLIENTS, client, service, service_of
from one_shard import HOUR, WINDOWING, OneShard, one_shard, segment

from streamproc.answers.limits import MAX_SEGMENTS
from streamproc.answers.tables import to_csv
from streamproc.core import details
from streamproc.core.commits import shard_of
from streamproc.core.details import Detail
from streamproc.core.fold import fold
from streamproc.core.windows import Windowing, WindowKey
from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.redis.keys import ShardKeys
from streamproc.stores.redis.shard import LayoutMismatch

ODD = "news: 24% {hd} צ*?[x]"


@pytest.fixture
async def shard(redis_url: str, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(redis_url, mongod.url, mongo_database_name) as one:
        yield one


def just_now(seconds_ago: float) -> datetime:
    return datetime.fromtimestamp(time.time() - seconds_ago, UTC)


async def stored(shard: OneShard, start: datetime, *times_ms: int, session: str = "s-1", **fields: str) -> None:
    """Store a measurement as a flusher would, of segments with these times."""
    key = WindowKey(int(start.timestamp() * 1000), fields.get("channel", "kan-11"), session, fields.get("user", "dana"))
    segments = {
        str(number): Detail(key.start_ms * 1000 + number, 0, 0, 0, one * 1000, 10, 20, "he", "en")
        for number, one in enumerate(times_ms)
    }
    await shard.database[COLLECTION].insert_one(fold(key, segments).document(write=1))


# Recent segments


async def test_recent_segments_are_all_that_was_received_since_newest_first(shard: OneShard) -> None:
    at = [just_now(seconds) for seconds in (290, 200, 100, 310)]
    for number, moment in enumerate(at):
        shard.publish(
            segment(f"{number}", f"s-{number % 2}", received_at=moment, error="codec" if number == 1 else None)
        )
    await shard.consume_all()
    answer = await service_of(shard).get_recent_segments("kan-11")
    assert [one.segment_id for one in answer.segments] == ["2", "1", "0"]
    first, second, _ = answer.segments
    assert (first.received_at, first.session_id, first.user_id) == (at[2], "s-0", "dana")
    assert (first.extraction_ms, first.dubbing_ms, first.reinsertion_ms, first.total_ms) == (45.25, 1100.5, 55, 1200.75)
    assert (first.error, second.error, first.source_language, first.platform) == (None, "codec", "he", "web")
    assert (answer.missing, answer.cut) == ([], False)
    assert answer.until - answer.since == timedelta(minutes=5)


async def test_recent_segments_reach_back_into_earlier_hours(shard: OneShard) -> None:
    shard.publish(segment("a"))
    await shard.consume_all()
    asked = service_of(shard)
    assert [one.segment_id for one in (await asked.get_recent_segments("kan-11", 240)).segments] == ["a"]
    assert (await asked.get_recent_segments("kan-11", 5)).segments == []


async def test_an_answer_holds_a_limited_number_of_segments_the_newest(shard: OneShard) -> None:
    key = WindowKey(WINDOWING.start_of(int(time.time() * 1000)), "kan-11", "s-1", "dana")
    name = WINDOWING.name(key)
    now_us = int(time.time() * 1_000_000)
    every = [Detail(now_us - number, 0, 0, 0, 0, 0, 0, "he", "en") for number in range(MAX_SEGMENTS + 1)]
    encoded = dict(zip(map(str, range(len(every))), details.encode_all(every), strict=True))
    shard.redis.hset(shard.keys.segments(name), mapping=encoded)
    shard.redis.sadd(shard.keys.channel(WINDOWING.hour_name(key.start_ms), "kan-11"), name)
    answer = await service_of(shard).get_recent_segments("kan-11")
    assert answer.cut
    assert [one.segment_id for one in answer.segments] == [str(number) for number in range(MAX_SEGMENTS)]


async def test_a_segment_that_cannot_be_read_holds_up_no_other_window(shard: OneShard) -> None:
    shard.publish(segment("a", received_at=just_now(1)), segment("b", "s-2", received_at=just_now(1)))
    await shard.consume_all()
    (key,) = shard.redis.keys("*:segment:*:s-2:*")
    shard.redis.hset(key, "c", "[2,3]")
    asked = service_of(shard)
    recent, hourly = await asked.get_recent_segments("kan-11"), await asked.get_hourly_metrics("kan-11")
    assert [one.segment_id for one in recent.segments] == ["a"]
    assert [one.segments for one in hourly.hours] == [1]
    for answer in (recent, hourly):
        assert [one.layer for one in answer.missing] == ["redis"]
        assert "newer streamproc" in answer.missing[0].reason


# Hours and days


async def test_an_hour_sums_its_sessions_and_weighs_by_segments(shard: OneShard) -> None:
    await stored(shard, HOUR, 100)
    await stored(shard, HOUR, 400, 400, 400, session="s-2")
    await stored(shard, HOUR, 9, channel="another")
    (row,) = (await service_of(shard).get_hourly_metrics("kan-11")).hours
    assert (row.hour, row.segments, row.sessions, row.avg_total_ms) == (HOUR, 4, 2, 325)
    assert (row.total_processing_time_ms, row.min_total_ms, row.max_total_ms) == (1300, 100, 400)
    assert row.p50_total_ms == pytest.approx(400, rel=0.02)
    assert (row.original_bytes, row.dubbed_bytes, row.source_languages) == (40, 80, {"he": 4})
    assert (row.first_segment_at, row.last_segment_at) == (HOUR, HOUR)


async def test_hours_are_as_many_as_asked_for_the_present_one_among_them(shard: OneShard) -> None:
    this_hour = datetime.fromtimestamp(time.time() // 3600 * 3600, UTC)
    for back in range(5):
        await stored(shard, this_hour - timedelta(hours=back), back + 1)
    answer = await service_of(shard).get_hourly_metrics("kan-11", hours=3)
    assert len(answer.hours) == 3 or datetime.now(UTC) >= this_hour + timedelta(hours=1)
    assert answer.hours == sorted(answer.hours, key=lambda row: row.hour)
    assert answer.since == answer.hours[0].hour


@pytest.mark.parametrize("zone", ["UTC", "Asia/Jerusalem", "Asia/Kathmandu", "America/St_Johns"])
async def test_days_are_those_of_the_time_zone_and_no_hour_is_lost_between_them(shard: OneShard, zone: str) -> None:
    start = datetime.fromtimestamp(time.time() // 3600 * 3600, UTC)
    starts = [start - timedelta(hours=back) for back in range(60)]
    expected: dict[date, int] = {}
    for number, moment in enumerate(starts):
        await stored(shard, moment, *range(1, number % 3 + 2))
        day = moment.astimezone(ZoneInfo(zone)).date()
        expected[day] = expected.get(day, 0) + number % 3 + 1
    asked = service_of(shard)
    answer = await asked.get_daily_trends("kan-11", 30, zone)
    assert {row.day: row.segments for row in answer.days} == expected
    assert [row.day for row in answer.days] == sorted(expected)
    activity = await asked.get_user_activity("dana", 30, zone)
    assert {row.day: row.segments for row in activity.days} == expected
    assert activity.total.segments == sum(expected.values())
    assert activity.total_hours == pytest.approx(sum(row.total_hours for row in activity.days))
    assert activity.total_hours == sum(expected.values()) / 240
    today = (await asked.get_daily_trends("kan-11", 1, zone)).days
    assert [row.segments for row in today] == [expected[max(expected)]]


async def test_a_session_tells_its_windows_one_by_one(shard: OneShard) -> None:
    await stored(shard, HOUR, 5, 7)
    await stored(shard, HOUR, 9, channel="kan-12")
    await stored(shard, HOUR, 9, session="another")
    shard.publish(segment("a", received_at=HOUR + timedelta(hours=1)))
    await shard.consume_all()
    rows = (await service_of(shard).get_session_hours("s-1")).hours
    assert [(row.hour, row.channel_id, row.revision, row.state) for row in rows] == [
        (HOUR, "kan-11", 2, "final"),
        (HOUR, "kan-12", 1, "final"),
        (HOUR + timedelta(hours=1), "kan-11", 1, "rolling"),
    ]
    assert (rows[0].p50_total_ms, rows[0].user_id, rows[0].platform) == (5, "dana", "web")


# All channels


async def test_channels_are_those_of_the_last_day_wherever_they_are(shard: OneShard) -> None:
    await stored(shard, HOUR, 1, channel="stored")
    await stored(shard, HOUR - timedelta(hours=48), 1, channel="long ago")
    shard.publish(segment("a", channel_id=ODD), segment("b", "s-2", channel_id="live"))
    await shard.consume_all()
    assert (await service_of(shard).get_channels()).channels == sorted(["stored", "live", ODD])


async def test_last_hours_are_those_of_all_channels_as_they_are_stored(shard: OneShard) -> None:
    asked = service_of(shard)
    assert (await asked.get_last_hours()).hours == []
    await stored(shard, HOUR - timedelta(hours=3), 1, 2)
    await shard.store("a", "b")
    await stored(shard, HOUR, 1, channel="kan-12", session="s-9")
    rows = (await asked.get_last_hours()).hours
    assert [(row.hour, row.segments, row.sessions, row.state) for row in rows] == [
        (HOUR, 3, 2, "final"),
        (HOUR - timedelta(hours=3), 2, 1, "final"),
    ]
    assert [row.hour for row in (await asked.get_last_hours(1)).hours] == [HOUR]
    await shard.count("late")
    assert [row.state for row in (await asked.get_last_hours(1)).hours] == ["revised"]
    await shard.count("new", session="s-2")
    assert [(row.state, row.segments) for row in (await asked.get_last_hours(1)).hours] == [("rolling", 3)]
    await shard.flusher().run_once()
    assert [(row.state, row.segments) for row in (await asked.get_last_hours(1)).hours] == [("final", 5)]


async def test_last_windows_shorter_than_an_hour_are_those_of_the_last_hour(shard: OneShard) -> None:
    start = datetime.fromtimestamp(time.time() // 5 * 5, UTC)
    for back in (1, 3, 4, 2000):
        await stored(shard, start - timedelta(seconds=5 * back), 7)
    asked = service(shard.client, shard.database, windowing=Windowing(length_ms=5000))
    assert len((await asked.get_last_hours(2)).hours) == 2
    assert len((await asked.get_last_hours()).hours) == 3
    assert len((await asked.get_hourly_metrics("kan-11", 24)).hours) == 4


# Names, clients, settings


@pytest.mark.parametrize("kind", ["our own", *CLIENTS])
async def test_odd_ids_work_in_every_question_with_any_client(shard: OneShard, redis_url: str, kind: str) -> None:
    redis = client(kind, redis_url) if kind in CLIENTS else shard.client
    asked = service(redis, shard.database)
    odd = {"channel_id": ODD, "user_id": f"{ODD}@u", "session": f"{ODD}-s"}
    shard.publish(segment("a", **odd, received_at=just_now(2)), segment("b", **odd))
    shard.publish(segment("c", "other", received_at=just_now(2)))
    await shard.consume_all()
    await shard.flusher().run_once()
    assert [one.segment_id for one in (await asked.get_recent_segments(ODD)).segments] == ["a"]
    assert [row.segments for row in (await asked.get_hourly_metrics(ODD)).hours] == [1, 1]
    assert sum(row.segments for row in (await asked.get_daily_trends(ODD)).days) == 2
    assert (await asked.get_user_activity(f"{ODD}@u")).total.segments == 2
    assert len((await asked.get_session_hours(f"{ODD}-s")).hours) == 2
    assert ODD in (await asked.get_channels()).channels
    if kind in CLIENTS:
        await redis.aclose()


async def test_windows_of_every_shard_are_found(shard: OneShard) -> None:
    at_ms = int(time.time() * 1000)
    sessions = {shard_of(f"s-{number}", 3): f"s-{number}" for number in range(30)}
    for number, session in sessions.items():
        keys = ShardKeys("dubbing", number)
        key = WindowKey(WINDOWING.start_of(at_ms), "kan-11", session, "dana")
        name = WINDOWING.name(key)
        (encoded,) = details.encode_all([Detail(at_ms * 1000, 0, 0, 0, 5, 0, 0, "he", "en")])
        shard.redis.hset(keys.segments(name), f"seg-{number}", encoded)
        shard.redis.sadd(keys.channel(WINDOWING.hour_name(key.start_ms), "kan-11"), name)
        shard.redis.zadd(keys.user("dana"), {name: key.start_ms})
        shard.redis.zadd(keys.open, {name: at_ms})
    asked = service(shard.client, shard.database, shards=3)
    assert {one.segment_id for one in (await asked.get_recent_segments("kan-11")).segments} == {
        "seg-0",
        "seg-1",
        "seg-2",
    }
    assert [(row.segments, row.sessions) for row in (await asked.get_hourly_metrics("kan-11")).hours] == [(3, 3)]
    assert (await asked.get_user_activity("dana")).total.segments == 3
    for session in sessions.values():
        assert [row.segments for row in (await asked.get_session_hours(session)).hours] == [1]


async def test_settings_that_are_not_those_of_the_data_are_refused(shard: OneShard) -> None:
    await shard.shard.agree_on_layout(shards=2, window_ms=WINDOWING.length_ms)
    with pytest.raises(LayoutMismatch, match="shards 2, and here it is 1"):
        await service_of(shard).get_hourly_metrics("kan-11")
    assert (await service(shard.client, shard.database, shards=2).get_hourly_metrics("kan-11")).hours == []


async def test_what_nobody_knows_has_an_empty_answer(shard: OneShard) -> None:
    asked = service_of(shard)
    assert (await asked.get_recent_segments("x")).segments == []
    assert (await asked.get_hourly_metrics("x")).hours == []
    assert (await asked.get_daily_trends("x")).days == []
    assert (await asked.get_session_hours("x")).hours == []
    assert (await asked.get_channels()).channels == []
    activity = await asked.get_user_activity("x")
    assert (activity.days, activity.total_hours, activity.total.segments, activity.missing) == ([], 0, 0, [])
    assert (activity.total.error_rate, activity.total.p50_total_ms, activity.total.first_segment_at) == (0, None, None)


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        (lambda asked: asked.get_recent_segments("kan-11", 0), "minutes must be a whole number from 1 to 1440, got 0"),
        (lambda asked: asked.get_recent_segments("kan-11", 1441), "from 1 to 1440"),
        (lambda asked: asked.get_recent_segments("kan-11", 2.5), "minutes must be a whole number"),
        (lambda asked: asked.get_recent_segments("", 5), "channel_id must have 1 to 128 printable characters, got ''"),
        (lambda asked: asked.get_hourly_metrics("kan-11", 2161), "hours must be a whole number from 1 to 2160"),
        (lambda asked: asked.get_hourly_metrics("k" * 129), "channel_id must have 1 to 128 printable characters"),
        (
            lambda asked: asked.get_user_activity("dana\udce9"),
            r"printable characters, got 'dana\\udce9'",
        ),
        (lambda asked: asked.get_hourly_metrics("kan-11", True), "hours must be a whole number"),
        (lambda asked: asked.get_daily_trends("kan-11", 91), "days must be a whole number from 1 to 90"),
        (lambda asked: asked.get_daily_trends("kan-11", 7, "Mars"), "tz must be the name of a time zone"),
        (lambda asked: asked.get_user_activity("", 7), "user_id must have"),
        (lambda asked: asked.get_user_activity("dana", -1), "days must be"),
        (lambda asked: asked.get_session_hours(""), "session_id must have"),
        (lambda asked: asked.get_last_hours(169), "limit must be a whole number from 1 to 168"),
    ],
)
async def test_a_wrong_argument_is_told_with_what_is_allowed(shard: OneShard, call: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=allowed):
        await call(service_of(shard))


async def test_the_widest_questions_are_answered(shard: OneShard) -> None:
    await stored(shard, HOUR, 1)
    asked = service_of(shard)
    assert len((await asked.get_hourly_metrics("kan-11", 2160)).hours) == 1
    assert len((await asked.get_daily_trends("kan-11", 90)).days) == 1
    assert len((await asked.get_user_activity("dana", 90)).days) == 1
    assert (await asked.get_recent_segments("kan-11", 1440)).segments == []
    assert len((await asked.get_last_hours(168)).hours) == 1


# Forms


async def test_an_answer_is_the_json_of_the_api(shard: OneShard) -> None:
    await stored(shard, HOUR, 100)
    found = json.loads(msgspec.json.encode(await service_of(shard).get_hourly_metrics("kan-11")))
    assert list(found) == ["missing", "from", "to", "channel_id", "hours"]
    (row,) = found["hours"]
    assert list(row)[:4] == ["hour", "state", "sessions", "segments"]
    assert row["hour"] == HOUR.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert found["to"].endswith("Z")


async def test_an_answer_is_a_table_for_spreadsheets(shard: OneShard) -> None:
    await stored(shard, HOUR, 100, channel="=1+1")
    asked = service_of(shard)
    head, line, _ = to_csv(await asked.get_hourly_metrics("=1+1")).split("\r\n")
    assert head.startswith("channel_id,hour,state,sessions,segments,errors,error_rate,")
    assert line.startswith(f"'=1+1,{HOUR:%Y-%m-%dT%H:%M:%SZ},final,1,1,0,0.0,")
    for answer in (await asked.get_hourly_metrics("x"), await asked.get_recent_segments("x")):
        assert to_csv(answer).count("\r\n") == 1
