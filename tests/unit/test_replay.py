from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from streamproc.core import commits, events, replay
from streamproc.core.commits import Planner, Reason
from streamproc.core.events import Event, InvalidEvent
from streamproc.core.replay import Obstacle, Refusal, Standing, mend
from streamproc.core.windows import Windowing

WINDOWING = Windowing()
#: 2026-01-23 10:00 UTC
START_MS = 1_769_162_400_000
END_MS = WINDOWING.end_of(START_MS)
LATE_UNTIL_MS = WINDOWING.late_until(START_MS)
SEGMENT = {
    "segment_id": "segment-17",
    "channel_id": "kan-11",
    "session_id": "session-1",
    "user_id": "dana",
    "received_at": "2026-01-23T10:05:00Z",
    "extraction_ms": 45,
    "dubbing_ms": 1100,
    "reinsertion_ms": 55,
    "source_language": "he",
    "target_language": "en",
}


def payload(**fields: Any) -> bytes:
    return json.dumps({**SEGMENT, **fields}).encode()


def own_fields(**fields: str) -> bytes:
    """What a dead letter keeps of an entry without `data`."""
    texts = {name: str(value) for name, value in SEGMENT.items()}
    return commits.payload_of([part.encode() for item in {**texts, **fields}.items() for part in item])


def event_at(received_ms: int) -> Event:
    return mend(payload(received_at=datetime.fromtimestamp(received_ms / 1000, UTC).isoformat()), {})


def refused(event: Event, now_ms: int, mark_ms: int = 0) -> Refusal | None:
    return replay.refusal(event, Standing(now_ms, mark_ms), WINDOWING)


# Mending


def test_a_good_payload_is_taken_as_it_is() -> None:
    assert mend(payload(), {}) == events.decode(payload())[0]


def test_a_field_is_set_and_the_others_are_kept() -> None:
    mended = mend(payload(segment_id="", total_ms=0.1 + 0.2), {"segment_id": "17"})
    assert (mended.segment_id, mended.total_ms, mended.user_id) == ("17", 0.1 + 0.2, "dana")


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ({"dubbing_ms": "1100.5"}, 1100.5),
        ({"original_bytes": "1099511627776"}, 2**40),
        ({"retry_count": "3"}, 3),
        ({"segment_id": "17"}, "17"),
        ({"error": ""}, ""),
        ({"error": "null"}, "null"),
        ({"total_ms": "null"}, None),
        ({"processing_ended_at": "null"}, None),
        ({"processing_ended_at": "2026-01-23T10:06:00+02:00"}, datetime(2026, 1, 23, 8, 6, tzinfo=UTC)),
    ],
    ids=str,
)
def test_a_value_is_read_as_its_field_wants_it(change: dict[str, str], value: object) -> None:
    (name,) = change
    before = payload(total_ms=7, processing_ended_at="2026-01-23T10:05:01Z")
    assert getattr(mend(before, change), name) == value
    assert getattr(mend(own_fields(total_ms="7", processing_ended_at="2026-01-23T10:05:01Z"), change), name) == value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dubbing_ms": "long"}, "dubbing_ms: expected `float`, got `str` 'long'"),
        ({"dubbing_ms": "NaN"}, "dubbing_ms: expected `float`, got `str` 'NaN'"),
        ({"dubbing_ms": "-1"}, "dubbing_ms: expected `float` >= 0"),
        ({"original_bytes": "1.5"}, "original_bytes: expected `int`"),
        ({"segment_id": ""}, "segment_id: expected `str` of length >= 1, got ''"),
        ({"segment_id": "a\nb"}, r"segment_id must consist of printable characters, got 'a\\nb'"),
        ({"received_at": "yesterday"}, "received_at: invalid RFC3339 encoded datetime, got 'yesterday'"),
        ({"received_at": "null"}, "received_at: .*'null'"),
    ],
    ids=str,
)
def test_a_mended_event_that_breaks_a_rule_is_refused_by_field_value_and_rule(
    changes: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidEvent, match=words):
        mend(payload(), changes)


def test_unknown_fields_are_dropped() -> None:
    mended = mend(payload(colour="red", segment_id=""), {"segment_id": "s"})
    assert b"red" not in events.encode(mended)


def test_what_is_no_json_but_often_sent_can_be_mended() -> None:
    spoilt = payload(dubbing_ms=float("nan"))
    with pytest.raises(InvalidEvent, match="not valid JSON"):
        mend(spoilt, {})
    assert mend(spoilt, {"dubbing_ms": "7"}).dubbing_ms == 7


@pytest.mark.parametrize(
    "broken", [b"", b"[1]", b'"text"', b"{", b"\xff\xfe", b"[" * 100_000], ids=lambda it: repr(it[:8])
)
def test_what_is_no_object_cannot_be_mended_by_field(broken: bytes) -> None:
    with pytest.raises(InvalidEvent, match=r"not a JSON object in UTF-8.*replace all of it"):
        mend(broken, {"segment_id": "s"})
    with pytest.raises(InvalidEvent):
        mend(broken, {})


def test_an_entrys_own_fields_are_read_with_numbers_as_strings() -> None:
    assert events.encode(mend(own_fields(retry_count="2"), {})) == events.encode(mend(payload(retry_count=2), {}))
    with pytest.raises(InvalidEvent, match="received_at: expected an RFC 3339 time, got '1769162700'"):
        mend(own_fields(received_at="1769162700"), {})


def test_own_fields_that_were_not_utf_8_are_not_taken_for_what_a_dead_letter_shows_of_them() -> None:
    flat = [part for name, value in SEGMENT.items() for part in (name.encode(), str(value).encode())]
    flat[flat.index(b"dana")] = b"dan\xff"
    kept = commits.payload_of(flat)
    with pytest.raises(InvalidEvent, match=r"user_id: was not UTF-8, kept as 'dan\\\\xff': set it anew"):
        mend(kept, {})
    assert mend(kept, {"user_id": "dana"}).user_id == "dana"


def test_an_error_text_may_look_like_an_escaped_byte() -> None:
    assert mend(own_fields(error=r"no file C:\x86"), {}).error == r"no file C:\x86"


def test_a_lone_surrogate_is_refused_and_mended() -> None:
    for spoilt in (payload(user_id="\ud800"), own_fields().replace(b'"dana"', b'"\\ud800"')):
        with pytest.raises(InvalidEvent):
            mend(spoilt, {})
        assert mend(spoilt, {"user_id": "dana"}).user_id == "dana"


def test_what_is_sent_is_what_was_judged() -> None:
    mended = mend(payload(received_at="2026-01-23T10:05:00", error="x" * 900, extraction_ms=0.1), {"platform": "tv"})
    again, unknown = events.decode(events.encode(mended))
    assert (msgspec.structs.replace(again, received_at=mended.received_at), unknown) == (mended, 0)
    assert events.epoch_us(again.received_at) == events.epoch_us(mended.received_at)


def test_every_field_that_is_a_number_is_set_as_one() -> None:
    numbers = (msgspec.inspect.FloatType, msgspec.inspect.IntType)
    found = []
    for field in msgspec.structs.fields(Event):
        kind = msgspec.inspect.type_info(field.type)
        if any(isinstance(one, numbers) for one in getattr(kind, "types", [kind])):
            found.append(field.name)
    assert found == [name for name in replay.FIELDS if name in replay._NUMBERS]


def test_every_field_that_may_be_null_can_be_set_to_it() -> None:
    nullable = {field.name for field in msgspec.structs.fields(Event) if field.default is None}
    assert nullable == {*replay._NULLABLE, "error"}


# Judging


def test_an_event_of_a_window_that_still_takes_late_ones_can_be_replayed() -> None:
    assert refused(event_at(START_MS), LATE_UNTIL_MS) is None


def test_an_event_of_a_window_past_the_horizon_is_too_late() -> None:
    found = refused(event_at(START_MS), LATE_UNTIL_MS + 1)
    assert found == (
        Obstacle.TOO_LATE,
        "its window ended 2026-01-23T11:00:00Z and took late events for 86400 s, until 2026-01-24T11:00:00Z",
    )
    assert found is not None
    for remedy in ("stored hour stays as it is", "dead-letters export", "clock", "STREAMPROC_LATE_HORIZON_SECONDS"):
        assert remedy in found.advice


def test_an_event_too_far_ahead_can_be_replayed_from_a_named_time_on() -> None:
    event = event_at(START_MS + 400_000)
    from_ms = START_MS + 100_000
    found = refused(event, from_ms - 1)
    assert found is not None
    assert found.obstacle is Obstacle.FUTURE
    assert found.detail.endswith("it can be replayed from 2026-01-23T10:01:40Z on")
    assert refused(event, from_ms) is None


def test_a_fraction_of_a_millisecond_is_waited_for() -> None:
    """Else the entry, added in that very millisecond, would be refused again."""
    event = mend(payload(received_at="2026-01-23T10:06:40.000001Z"), {})
    found = refused(event, START_MS + 100_000)
    assert found is not None
    assert found.detail.endswith("from 2026-01-23T10:01:40.001Z on")
    assert refused(event, START_MS + 100_001) is None


def test_an_event_of_a_forgotten_window_would_be_lost_as_a_duplicate() -> None:
    """The horizon was raised after the window had been forgotten."""
    found = refused(event_at(START_MS), END_MS + 1, mark_ms=END_MS)
    assert found is not None
    assert found.obstacle is Obstacle.FORGOTTEN
    assert "is forgotten" in found.detail
    assert refused(event_at(END_MS), END_MS + 1, mark_ms=END_MS) is None


def test_every_obstacle_has_its_advice() -> None:
    assert set(replay.ADVICE) == set(Obstacle)


@pytest.mark.parametrize("received_us", [0, 1, 999, 1000, 299_999_999, 300_000_000, 300_000_001, -1, -3_600_000_001])
@pytest.mark.parametrize("added_ms", [START_MS, START_MS + 1, LATE_UNTIL_MS - 1, LATE_UNTIL_MS, LATE_UNTIL_MS + 1])
def test_what_can_be_replayed_is_exactly_what_a_consumer_would_not_refuse(received_us: int, added_ms: int) -> None:
    received = datetime.fromtimestamp(START_MS / 1000, UTC).timestamp() * 1_000_000 + received_us
    at = datetime.fromtimestamp(received // 1_000_000, UTC).replace(microsecond=int(received % 1_000_000))
    event = mend(payload(received_at=at.isoformat()), {})
    entry = (f"{added_ms}-0".encode(), [b"data", events.encode(event)])
    dead = Planner(WINDOWING).plan([entry], added_ms).dead
    judged = refused(event, added_ms)
    assert [letter.reason for letter in dead] == ([] if judged is None else [Reason(judged.obstacle)])
