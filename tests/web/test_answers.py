"""Every question over HTTP, on real servers, and what is asked wrongly."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import quote

import pytest

from .conftest import FORMULA_CHANNEL, HEBREW_CHANNEL, ODD_CHANNEL, System
from .serving import Web

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHANNELS = [FORMULA_CHANNEL, HEBREW_CHANNEL, "kan-11", ODD_CHANNEL]


def encoded(text: str) -> str:
    return quote(text, safe="")


async def test_channels_are_listed_with_every_sign_of_their_names(web: Web) -> None:
    reply = await web.get("/api/channels")
    assert (reply.status, reply.data["channels"], reply.data["missing"]) == (200, sorted(CHANNELS), [])


async def test_the_segments_of_a_channel_are_there_one_by_one(web: Web) -> None:
    reply = await web.get("/api/channels/kan-11/segments?minutes=1440")
    assert reply.headers["Content-Type"] == "application/json"
    segments = {one["segment_id"]: one for one in reply.data["segments"]}
    assert sorted(segments) == ["1", "2", "3"]
    assert (segments["3"]["error"], segments["2"]["retry_count"]) == ("no speech found", 2)
    assert (segments["1"]["total_ms"], segments["1"]["user_id"]) == (1200.75, "dana/1")


async def test_the_hours_of_a_channel_are_its_figures(web: Web) -> None:
    answer = (await web.get("/api/channels/kan-11/hourly")).data
    (hour,) = answer["hours"]
    assert (hour["segments"], hour["errors"], hour["retries"], hour["state"]) == (3, 1, 2, "final")
    assert hour["avg_total_ms"] == 1200.75
    assert hour["source_languages"] == {"he": 3}
    assert answer["channel_id"] == "kan-11"


async def test_the_time_asked_about_is_the_one_that_was_asked_for(web: Web) -> None:
    answer = (await web.get("/api/channels/kan-11/hourly?hours=48")).data
    asked = datetime.fromisoformat(answer["to"]) - datetime.fromisoformat(answer["from"])
    assert abs(asked - timedelta(hours=48)) <= timedelta(hours=1)


async def test_the_days_of_a_channel_are_those_of_the_time_zone(web: Web) -> None:
    answer = (await web.get("/api/channels/kan-11/trends?days=2&tz=Asia/Jerusalem")).data
    assert answer["time_zone"] == "Asia/Jerusalem"
    assert sum(day["segments"] for day in answer["days"]) == 3


async def test_the_hours_of_a_session_name_its_user(web: Web) -> None:
    (hour,) = (await web.get("/api/sessions/s-kan-11/hours")).data["hours"]
    assert (hour["user_id"], hour["channel_id"], hour["revision"]) == ("dana/1", "kan-11", 3)


async def test_the_activity_of_a_user_counts_all_channels(web: Web) -> None:
    answer = (await web.get(f"/api/users/{encoded('dana/1')}/activity")).data
    assert (answer["user_id"], answer["total"]["segments"], answer["total_hours"]) == ("dana/1", 6, 6 / 240)


async def test_the_last_hours_are_those_of_all_channels_and_no_more_than_asked_for(web: Web) -> None:
    hours = (await web.get("/api/hours?limit=168")).data["hours"]
    assert sum(hour["segments"] for hour in hours) == 6
    assert len((await web.get("/api/hours?limit=1")).data["hours"]) == 1


async def test_the_overview_knows_servers_shards_and_workers(web: Web, system: System) -> None:
    seen = (await web.get("/api/overview")).data
    assert (seen["redis"]["up"], seen["mongodb"]["up"]) == (True, True)
    assert [shard["ledger"]["counted"] for shard in seen["shards"]] == [6]
    assert [worker["counted"] for worker in seen["workers"]] == [6]
    assert isinstance(seen["throughput"], list)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_an_id_may_hold_any_printable_sign(web: Web, channel: str) -> None:
    reply = await web.get(f"/api/channels/{encoded(channel)}/hourly")
    assert (reply.status, reply.data["channel_id"]) == (200, channel)
    assert [hour["segments"] for hour in reply.data["hours"]] == [3 if channel == "kan-11" else 1]


async def test_small_hex_digits_and_needless_escapes_name_the_same_id(web: Web) -> None:
    for path in ("/api/users/dana%2f1/activity", "/api/users/%64ana%2F1/activity", "/%61pi/users/dana%2F1/activity"):
        assert (await web.get(path)).data["user_id"] == "dana/1"


async def test_nobody_knows_a_channel_without_segments_and_that_is_no_error(web: Web) -> None:
    reply = await web.get("/api/channels/nothing/hourly")
    assert (reply.status, reply.data["hours"], reply.data["missing"]) == (200, [], [])


async def test_head_answers_as_get_without_a_body(web: Web) -> None:
    reply = await web.get("/api/channels", "HEAD")
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("hours=0", "hours: '0' is not allowed; allowed is a whole number from 1 to 2160"),
        ("hours=2161", "hours: '2161' is not allowed; allowed is a whole number from 1 to 2160"),
        ("hours=", "hours: '' is not allowed; allowed is a whole number from 1 to 2160"),
        ("hours=-1", "hours: '-1' is not allowed; allowed is a whole number from 1 to 2160"),
        ("hours=ten", "hours: 'ten' is not allowed; allowed is a whole number from 1 to 2160"),
        ("hours=1e2", "hours: '1e2' is not allowed; allowed is a whole number from 1 to 2160"),
        ("hours=1.5", "hours: '1.5' is not allowed; allowed is a whole number from 1 to 2160"),
        (f"hours={'9' * 5000}", f"hours: '{'9' * 76}... is not allowed; allowed is a whole number from 1 to 2160"),
        ("hours=1&hours=2", "hours: given 2 times; allowed is once"),
        ("format=xml", "format: 'xml' is not allowed; allowed is json or csv"),
        ("hour=5", "unknown parameter 'hour'; known here: format, hours"),
        ("%0a=%00", "unknown parameter '\\n'; known here: format, hours"),
    ],
)
async def test_a_wrong_parameter_is_named_with_its_value_and_what_is_allowed(web: Web, query: str, words: str) -> None:
    reply = await web.get(f"/api/channels/kan-11/hourly?{query}")
    assert (reply.status, reply.data) == (400, {"error": words})


@pytest.mark.parametrize(
    ("path", "lowest", "highest"),
    [
        ("/api/channels/kan-11/segments?minutes=", 1, 1440),
        ("/api/channels/kan-11/hourly?hours=", 1, 2160),
        ("/api/channels/kan-11/trends?days=", 1, 90),
        ("/api/users/dana/activity?days=", 1, 90),
        ("/api/hours?limit=", 1, 168),
    ],
)
async def test_every_range_has_its_limits(web: Web, path: str, lowest: int, highest: int) -> None:
    for value, status in ((lowest - 1, 400), (lowest, 200), (highest, 200), (highest + 1, 400)):
        assert (await web.get(f"{path}{value}")).status == status, value


@pytest.mark.parametrize("zone", ["Middle/Earth", "", "America", "../../etc/passwd", "/etc/localtime", "a" * 65, "%00"])
async def test_a_time_zone_that_is_none_is_refused(web: Web, zone: str) -> None:
    reply = await web.get(f"/api/channels/kan-11/trends?tz={zone}")
    assert reply.status == 400
    assert reply.error.startswith("tz: ")
    assert reply.error.endswith("is not allowed; allowed is a time zone's name, such as UTC or Asia/Jerusalem")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"/api/users/{'x' * 129}/activity", "is no id; allowed are 1 to 128 printable characters"),
        ("/api/users/a%0ab/activity", "user_id: 'a\\nb' is no id; allowed are 1 to 128 printable characters"),
        ("/api/users/%ff/activity", "user_id: '%ff' is not UTF-8, percent-encoded"),
    ],
)
async def test_what_is_no_id_is_refused(web: Web, path: str, words: str) -> None:
    reply = await web.get(path)
    assert reply.status == 400
    assert words in reply.error


async def test_an_id_of_128_characters_of_four_bytes_is_taken(web: Web) -> None:
    reply = await web.get(f"/api/users/{encoded('𐍈' * 128)}/activity")
    assert (reply.status, reply.data["user_id"]) == (200, "𐍈" * 128)


async def test_a_path_that_is_none_says_where_they_are_listed(web: Web) -> None:
    for path in ("/api", "/api/", "/api/nothing", "/nothing", "/api/channels//hourly"):
        reply = await web.get(path)
        assert reply.status == 404
        assert "/api/openapi.json" in reply.error


async def test_a_method_that_is_not_allowed_says_which_are(web: Web) -> None:
    reply = await web.get("/api/channels", "POST")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
    assert reply.error == "POST is not allowed here; allowed: GET, HEAD"
