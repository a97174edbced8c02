"""The rules of the event schema (docs/formats.md), each on both sides of its bound."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from streamproc.core import events
from streamproc.core.events import Event, InvalidEvent
from streamproc.core.refusals import shown

VALID: dict[str, Any] = {
    "segment_id": "seg-1",
    "channel_id": "kan-11",
    "session_id": "session-7",
    "user_id": "dana",
    "received_at": "2024-05-01T10:00:00Z",
    "extraction_ms": 120.5,
    "dubbing_ms": 2000,
    "reinsertion_ms": 80.25,
    "source_language": "he",
    "target_language": "en",
}
OPTIONAL: dict[str, Any] = {
    "processing_started_at": "2024-05-01T10:00:01Z",
    "processing_ended_at": "2024-05-01T10:00:03.5Z",
    "total_ms": 2500.125,
    "original_bytes": 1_500_000,
    "dubbed_bytes": 1_400_000,
    "platform": "ios",
    "error": "timeout",
    "retry_count": 2,
}
RECEIVED_US = 1_714_557_600_000_000  # 2024-05-01T10:00:00Z
IDENTIFIERS = ["segment_id", "channel_id", "session_id", "user_id"]
LANGUAGES = ["source_language", "target_language"]
PRINTABLE = [*IDENTIFIERS, *LANGUAGES, "platform"]
PARTS = ["extraction_ms", "dubbing_ms", "reinsertion_ms"]
BYTES = ["original_bytes", "dubbed_bytes"]
TIMES = ["received_at", "processing_started_at", "processing_ended_at"]


class SetBack(tzinfo):
    """A zone on the night in which its clock is set back: the same hour once at UTC+3, once (fold) at UTC+2."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=2 if moment and moment.fold else 3)

    def dst(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, moment: datetime | None) -> str:
        return "set back"


def payload(**changes: Any) -> bytes:
    return json.dumps({**VALID, **changes}).encode()


def payload_with(field: str, text: str | bytes) -> bytes:
    """A payload in which `field` has a value that no JSON writer would write."""
    return payload(**{field: "@"}).replace(b'"@"', text.encode() if isinstance(text, str) else text)


def flat(**changes: Any) -> list[bytes]:
    pairs = {**VALID, **changes}.items()
    return [part if isinstance(part, bytes) else str(part).encode() for pair in pairs for part in pair]


def decode(data: bytes) -> Event:
    return events.decode(data)[0]


def received_us(received_at: str) -> int:
    return events.epoch_us(decode(payload(received_at=received_at)).received_at)


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidEvent) as refused:
        events.decode(data)
    return str(refused.value)


def cases(fields: list[str], values: list[Any]) -> list[tuple[str, Any]]:
    return [(field, value) for field in fields for value in values]


ACCEPTED = [
    *cases(
        IDENTIFIERS, ["x", "x" * 128, "é" * 128, "😀" * 128, "a:b{c}%25 d", "דנה", " ", '"quoted" \\ /', "None", "0"]
    ),
    *cases(LANGUAGES, ["x", "x" * 35, "zh-Hant-TW"]),
    *cases(["platform"], ["x", "x" * 32, "smart tv"]),
    *cases(PARTS, [0, 0.0, -0.0, 5e-324, 0.001, 1, 3_599_999.999, 3_600_000]),
    *cases(["total_ms"], [0, 0.5, 3 * 3_600_000, None]),
    *cases(BYTES, [0, 1, 2**40]),
    *cases(["retry_count"], [0, 1, 1000]),
    *cases(["error"], [None, "", "x", "x" * 500, "line\nbreak\tand \x00 and \x7f"]),
    *cases(["processing_started_at", "processing_ended_at"], [None]),
]
REFUSED = [
    *cases(IDENTIFIERS, ["", "x" * 129, "é" * 129, None, 5, True, ["x"], {"x": 1}]),
    *cases(LANGUAGES, ["", "x" * 36, None, 5]),
    *cases(["platform"], ["", "x" * 33, None, 5]),
    *cases(PRINTABLE, ["a\x00", "\x1f", "\n", "a\x7f", "\x85", "\xa0", "\u200b", "\u200f", "\u2028", "\ufeff"]),
    *cases(PARTS, [-5e-324, -1, 3_600_000.000001, 3_600_001, 1e300, None, True, "1", "", [1], {"ms": 1}]),
    *cases(["total_ms"], [-5e-324, 3 * 3_600_000 + 0.001, "1", False]),
    *cases(BYTES, [-1, 2**40 + 1, 2**64, 10**30, 1.0, 1e3, 0.5, None, True, "1"]),
    *cases(["retry_count"], [-1, 1001, 1.0, None, True, "1"]),
    *cases(["error"], [0, 1.5, True, [], {}]),
    *cases(TIMES, ["", "yesterday", 1_714_557_600, 1_714_557_600.5, True, [], {}]),
    *cases(["received_at"], [None]),
]


@pytest.mark.parametrize(("field", "value"), ACCEPTED)
def test_a_value_within_its_rule_is_accepted(field: str, value: Any) -> None:
    event, unknown_fields = events.decode(payload(**{field: value}))
    assert getattr(event, field) == value
    assert unknown_fields == 0


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_a_value_beyond_its_rule_is_refused_by_field_and_value(field: str, value: Any) -> None:
    message = refusal(payload(**{field: value}))
    assert message.startswith(f"{field}")
    assert ("`null`" if value is None else ascii(value)[:70]) in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dubbing_ms": -1}, "dubbing_ms: expected `float` >= 0.0, got -1"),
        ({"dubbing_ms": 3_600_001}, "dubbing_ms: expected `float` <= 3600000.0, got 3600001"),
        ({"dubbing_ms": "12"}, "dubbing_ms: expected `float`, got `str` '12'"),
        ({"dubbing_ms": None}, "dubbing_ms: expected `float`, got `null`"),
        ({"original_bytes": 2**40 + 1}, "original_bytes: expected `int` <= 1099511627776, got 1099511627777"),
        ({"user_id": ""}, "user_id: expected `str` of length >= 1, got ''"),
        ({"user_id": "x" * 200}, f"user_id: expected `str` of length <= 128, got '{'x' * 76}..."),
        ({"user_id": "דנה\n"}, r"user_id must consist of printable characters, got '\u05d3\u05e0\u05d4\n'"),
        ({"received_at": "10:00"}, "received_at: invalid RFC3339 encoded datetime, got '10:00'"),
    ],
)
def test_a_refusal_names_field_value_and_rule(changes: dict[str, Any], message: str) -> None:
    assert refusal(payload(**changes)) == message


@pytest.mark.parametrize("field", VALID)
def test_a_missing_required_field_is_named(field: str) -> None:
    without = {name: value for name, value in VALID.items() if name != field}
    assert refusal(json.dumps(without).encode()) == f"the event: object missing required field `{field}`"


def test_what_is_left_out_has_its_default() -> None:
    event = decode(payload())
    assert {name: getattr(event, name) for name in OPTIONAL} == {
        "processing_started_at": None,
        "processing_ended_at": None,
        "total_ms": None,
        "original_bytes": 0,
        "dubbed_bytes": 0,
        "platform": "web",
        "error": None,
        "retry_count": 0,
    }


@pytest.mark.parametrize(
    "number",
    ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" * 400, "1" * 5000, "0x1", "01", "+1", "1_0", ".5", "5."],
)
@pytest.mark.parametrize("field", ["dubbing_ms", "original_bytes", "retry_count", "total_ms"])
def test_a_number_that_is_no_finite_json_number_is_refused(field: str, number: str) -> None:
    refusal(payload_with(field, number))


@pytest.mark.parametrize("field", PRINTABLE)
@pytest.mark.parametrize("form", rb"a\u0000 a\u001f a\n a\u007f a\u00a0 a\u200f a\ud800 a\udc00 \udc00\ud800".split())
def test_an_unprintable_character_in_escaped_form_is_refused(field: str, form: bytes) -> None:
    refusal(payload_with(field, b'"' + form + b'"'))


@pytest.mark.parametrize("field", PRINTABLE)
@pytest.mark.parametrize(
    "raw",
    [
        b"\x00",
        b"\x01",
        b"\x1f",
        b"\n",
        b"\t",
        b"\x7f",
        b"\xc2\x85",
        b"\xc2\xa0",
        b"\xe2\x80\x8f",
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ],
)
def test_an_unprintable_character_or_invalid_utf8_in_raw_form_is_refused(field: str, raw: bytes) -> None:
    refusal(payload_with(field, b'"a' + raw + b'"'))


@pytest.mark.parametrize("field", PRINTABLE)
def test_a_printable_character_may_be_escaped(field: str) -> None:
    assert getattr(decode(payload_with(field, '"\\u05d3\\ud83d\\ude00\\/\\\\\\""')), field) == 'ד😀/\\"'


@pytest.mark.parametrize(
    ("received_at", "us"),
    [
        ("2024-05-01T10:00:00Z", RECEIVED_US),
        ("2024-05-01T10:00:00", RECEIVED_US),
        ("2024-05-01 10:00:00Z", RECEIVED_US),
        ("2024-05-01t10:00:00z", RECEIVED_US),
        ("2024-05-01T12:00:00+02:00", RECEIVED_US),
        ("2024-05-01T12:00:00+0200", RECEIVED_US),
        ("2024-04-30T10:01:00-23:59", RECEIVED_US),
        ("2024-05-01T10:00:00-00:00", RECEIVED_US),
        ("2024-05-01T10:00:00.5Z", RECEIVED_US + 500_000),
        ("2024-05-01T10:00:00.000001Z", RECEIVED_US + 1),
        ("2024-05-01T10:00:00.000001499Z", RECEIVED_US + 1),
        ("2024-05-01T10:00:00.000001500Z", RECEIVED_US + 2),
        ("2024-05-01T09:59:59.999999999Z", RECEIVED_US),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2100-02-28T23:59:59.999999Z", 4_107_542_399_999_999),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000_000),
        ("0001-01-01T00:00:00.000001Z", -62_135_596_799_999_999),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ("9999-12-31T23:59:59.999999-23:59", 253_402_387_139_999_999),
    ],
)
def test_a_time_is_read_to_the_microsecond(received_at: str, us: int) -> None:
    assert received_us(received_at) == us


@pytest.mark.parametrize(
    "received_at",
    [
        "2016-12-31T23:59:60Z",
        "2024-02-30T10:00:00Z",
        "2024-05-01T24:00:00Z",
        "2024-05-01T10:00Z",
        "2024-05-01",
        "20240501T100000Z",
        "2024-05-01T10:00:00+24:00",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.9999999Z",
        "2024-05-01T10:00:00Z ",
        "1714557600",
    ],
)
@pytest.mark.parametrize("field", TIMES)
def test_what_is_no_time_of_rfc_3339_is_refused(field: str, received_at: str) -> None:
    assert refusal(payload(**{field: received_at})) == f"{field}: invalid RFC3339 encoded datetime, got {received_at!r}"


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EAST-12")
    time.tzset()
    assert time.timezone == -12 * 3600
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
def test_a_time_without_offset_is_utc_wherever_the_process_runs() -> None:
    assert received_us("2024-05-01T10:00:00") == RECEIVED_US
    naive = datetime(2024, 5, 1, 10)
    published = decode(events.encode(events.from_mapping({**VALID, "received_at": naive})))
    assert events.epoch_us(published.received_at) == RECEIVED_US
    assert events.subject_of(payload(received_at="2024-05-01T10:00:00", user_id="")) == ("", RECEIVED_US)


def test_unknown_fields_are_dropped_and_counted() -> None:
    event, unknown_fields = events.decode(payload(viewer_ip="192.0.2.1", nested={"user_id": "other"}, empty=None))
    assert unknown_fields == 3
    assert event == events._LenientEvent(**{name: getattr(decode(payload()), name) for name in Event.__struct_fields__})


@pytest.mark.parametrize("value", ["1e400", "1" * 5000, '"\\ud83d\\ude00"', b'"\xff"', "[" * 100 + "]" * 100])
def test_an_unknown_field_is_dropped_whatever_it_holds(value: str | bytes) -> None:
    assert events.decode(payload_with("whatever", value))[1] == 1


def test_of_a_repeated_key_the_last_wins() -> None:
    event, unknown_fields = events.decode(payload()[:-1] + b', "user_id": "noa", "x": 1, "x": 2}')
    assert event.user_id == "noa"
    assert unknown_fields == 1


@pytest.mark.parametrize("order", [b'"user_id": "", "user_id": "noa"', b'"user_id": "noa", "user_id": ""'])
def test_each_value_of_a_repeated_key_must_keep_the_rule(order: bytes) -> None:
    assert refusal(payload()[:-1] + b", " + order + b"}").startswith("user_id: expected `str` of length >= 1")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "`data` is not valid JSON"),
        (b"not json", "`data` is not valid JSON"),
        (payload()[:-1], "`data` is not valid JSON"),
        (payload() + b"x", "`data` is not valid JSON"),
        (b"\xef\xbb\xbf" + payload(), "`data` is not valid JSON"),
        (payload().decode().encode("utf-16"), "`data` is not valid JSON"),
        (payload_with("user_id", b'"\xff"'), "`data` is not valid UTF-8"),
        (payload_with("error", b'"\xff"'), "`data` is not valid UTF-8"),
        (payload_with("error", '"\\ud800"'), "`data` is not valid JSON"),
        (b"null", "the event: expected `object`, got `null`"),
        (b"[]", "the event: expected `object`, got `array`"),
        (b"[" + payload() + b"]", "the event: expected `object`, got `array`"),
        (b"7", "the event: expected `object`, got `int`"),
        (b'"x"', "the event: expected `object`, got `str`"),
        (b"{}", "the event: object missing required field `segment_id`"),
        (b"[" * 500_000, "the event: expected `object`, got `array`"),
        (b'{"a":' * 200_000, "`data` is nested too deeply; an event is one flat JSON object"),
        (payload_with("x", "[" * 500_000), "`data` is nested too deeply; an event is one flat JSON object"),
        (payload_with("dubbing_ms", "[" * 500_000), "dubbing_ms: expected `float`, got `array`"),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else "",
)
def test_what_is_no_json_object_is_refused_in_words(data: bytes, message: str) -> None:
    assert refusal(data).startswith(message)


def test_a_payload_of_a_megabyte_is_read_and_its_error_cut() -> None:
    event = decode(payload(error="x" * 1_000_000))
    assert events.to_detail(event, RECEIVED_US).error == "x" * 500
    assert len(refusal(payload(user_id="x" * 1_000_000))) < 200


@pytest.mark.parametrize(
    ("error", "stored"),
    [
        (None, ""),
        ("", ""),
        ("timeout", "timeout"),
        ("x" * 499 + "ab", "x" * 499 + "a"),
        ("😀" * 501, "😀" * 500),
        ("0", "0"),
    ],
)
def test_an_error_is_cut_at_500_characters_and_an_empty_one_is_none(error: str | None, stored: str) -> None:
    assert events.to_detail(decode(payload(error=error)), RECEIVED_US).error == stored


def test_a_flat_entry_is_the_same_event_with_numbers_as_strings() -> None:
    event, unknown_fields = events.decode_fields(flat(**OPTIONAL))
    assert unknown_fields == 0
    expected = decode(payload(**OPTIONAL))
    assert events.to_detail(event, RECEIVED_US) == events.to_detail(expected, RECEIVED_US)
    assert all(getattr(event, name) == getattr(expected, name) for name in Event.__struct_fields__)


def test_unknown_fields_of_a_flat_entry_are_dropped_and_counted() -> None:
    event, unknown_fields = events.decode_fields(flat(viewer_ip="192.0.2.1", x=""))
    assert (event.user_id, unknown_fields) == ("dana", 2)


def test_of_a_repeated_field_of_a_flat_entry_the_last_wins() -> None:
    assert events.decode_fields([*flat(), b"user_id", b"noa"])[0].user_id == "noa"


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("dubbing_ms", "0", 0),
        ("dubbing_ms", "12.5", 12.5),
        ("dubbing_ms", "1e3", 1000),
        ("dubbing_ms", "3600000", 3_600_000),
        ("original_bytes", "1099511627776", 2**40),
        ("original_bytes", "5.0", 5),
        ("retry_count", "1000", 1000),
        ("total_ms", "12.5", 12.5),
        # A name that looks like a number is a name.
        ("user_id", "5", "5"),
        ("user_id", "null", "null"),
        ("user_id", "true", "true"),
        ("user_id", "דנה:{x}%", "דנה:{x}%"),
        ("error", "null", "null"),
        ("error", "", ""),
    ],
)
def test_a_flat_field_is_read_from_its_text(field: str, text: str, value: Any) -> None:
    assert getattr(events.decode_fields(flat(**{field: text}))[0], field) == value


NOT_FINITE = ["nan", "NaN", "inf", "-inf", "Infinity", "1e400"]
NO_NUMBERS = ["", " 5", "5 ", "\u0665", "+5", "05", "0x10", "1_000", "true", "five", *NOT_FINITE]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *cases(
            [*PARTS, "total_ms", *BYTES, "retry_count"], [*NO_NUMBERS, "-1", "99999999999999999", "9" * 400, "9" * 5000]
        ),
        *cases(PARTS, ["null", "-0.001", "3600000.001", ".5", "5."]),
        *cases([*BYTES, "retry_count"], ["0.5", "null"]),
        *cases(IDENTIFIERS, ["", "x" * 129]),
        *cases(PRINTABLE, ["a\x00", "a\x7f", "a\n", "\u200f", b"\xff"]),
        *cases(
            TIMES,
            ["", "null", "nan", "1e400", "1714557600", "1714557600.5", "123e-5", "-1", "12:00", "2016-12-31T23:59:60Z"],
        ),
    ],
)
def test_a_flat_field_that_breaks_its_rule_is_refused_by_name(field: str, text: str | bytes) -> None:
    with pytest.raises(InvalidEvent) as refused:
        events.decode_fields(flat(**{field: text}))
    assert str(refused.value).startswith("the entry's fields are not UTF-8" if text == b"\xff" else field)


def test_a_flat_time_is_read_like_one_in_json() -> None:
    event = events.decode_fields(flat(received_at="2024-05-01 12:00:00.000001+02:00"))[0]
    assert events.epoch_us(event.received_at) == RECEIVED_US + 1


@pytest.mark.parametrize("field", ["viewer_ip", "", "a - at `$.user_id`", "דנה"])
def test_a_publisher_is_told_of_an_unknown_field_by_name(field: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        events.from_mapping({**VALID, field: 1})
    assert str(refused.value) == f"the event: object contains unknown field `{field}`"


@pytest.mark.parametrize("changes", [{"\ud800": 1}, {"received_at": "\ud800"}])
def test_a_publisher_is_told_of_text_that_no_utf8_can_say(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match=r"got '\\ud800'"):
        events.from_mapping({**VALID, **changes})


def test_a_publisher_is_told_of_a_field_name_that_is_no_text() -> None:
    mapping: dict[Any, Any] = {**VALID, 1: 2}
    with pytest.raises(InvalidEvent, match="the event: expected `str`"):
        events.from_mapping(mapping)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *REFUSED,
        *cases(PARTS, [float("nan"), float("inf"), float("-inf"), 10**5000]),
        *cases(BYTES, [10**5000]),
        *cases([*PRINTABLE, "error"], ["\ud800", b"bytes"]),
        *cases(TIMES, [date(2024, 5, 1), datetime(2024, 5, 1, tzinfo=timezone(timedelta(hours=2, seconds=20)))]),
    ],
    ids=lambda value: shown(value)[:30],
)
def test_a_publisher_is_told_what_is_wrong_by_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidEvent) as refused:
        events.from_mapping({**VALID, field: value})
    assert str(refused.value).startswith(field)
    str(refused.value).encode()


@pytest.mark.parametrize(
    ("moment", "us"),
    [
        (datetime(2024, 5, 1, 10, tzinfo=UTC), RECEIVED_US),
        (datetime(2024, 5, 1, 10), RECEIVED_US),
        (datetime(2024, 5, 1, 10, 0, 0, 1, tzinfo=UTC), RECEIVED_US + 1),
        (datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))), RECEIVED_US),
        # The hour that a clock set back for winter shows twice.
        (datetime(2024, 5, 1, 13, tzinfo=SetBack()), RECEIVED_US),
        (datetime(2024, 5, 1, 12, tzinfo=SetBack(), fold=1), RECEIVED_US),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), -62_135_647_200_000_000),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))), 253_402_343_999_999_999),
    ],
    ids=str,
)
def test_a_publisher_may_give_times_as_datetimes(moment: datetime, us: int) -> None:
    event = events.from_mapping({**VALID, "received_at": moment})
    assert events.epoch_us(event.received_at) == us
    assert events.epoch_us(decode(events.encode(event)).received_at) == us


@pytest.mark.parametrize(
    "changes", [{}, OPTIONAL, {"error": "", "user_id": "a:b{c}%25 דנה"}], ids=["least", "all", "odd"]
)
def test_what_is_encoded_decodes_to_the_same_event(changes: dict[str, Any]) -> None:
    event = events.from_mapping({**VALID, **changes})
    assert events.decode(events.encode(event)) == (event, 0)


@pytest.mark.parametrize(
    ("ms", "us"),
    [
        (0, 0),
        (-0.0, 0),
        (5e-324, 0),
        (0.0005, 0),
        (0.0015, 2),
        (0.0025, 2),
        (0.00051, 1),
        (0.0014999, 1),
        (12.3456789, 12346),
        (3_600_000, 3_600_000_000),
    ],
)
def test_milliseconds_become_whole_microseconds_half_to_even(ms: float, us: int) -> None:
    detail = events.to_detail(decode(payload(extraction_ms=ms, dubbing_ms=ms, reinsertion_ms=ms, total_ms=ms)), 0)
    assert (detail.extraction_us, detail.dubbing_us, detail.reinsertion_us, detail.total_us) == (us, us, us, us)


def test_a_missing_total_is_the_sum_of_the_parts_as_they_were_rounded() -> None:
    parts = dict.fromkeys(PARTS, 0.0006)
    # Each is 1 us; their sum as milliseconds, rounded afterwards, would be 2 us.
    assert events.to_detail(decode(payload(**parts)), 0).total_us == 3
    assert events.to_detail(decode(payload(**parts, total_ms=0.0018)), 0).total_us == 2


def test_a_total_of_zero_is_no_missing_total() -> None:
    assert events.to_detail(decode(payload(total_ms=0)), 0).total_us == 0


def test_a_detail_holds_everything_of_the_event_but_its_names() -> None:
    detail = events.to_detail(decode(payload(**OPTIONAL)), RECEIVED_US)
    assert {name: getattr(detail, name) for name in detail.__struct_fields__} == {
        "received_at_us": RECEIVED_US,
        "extraction_us": 120_500,
        "dubbing_us": 2_000_000,
        "reinsertion_us": 80_250,
        "total_us": 2_500_125,
        "original_bytes": 1_500_000,
        "dubbed_bytes": 1_400_000,
        "source_language": "he",
        "target_language": "en",
        "platform": "ios",
        "error": "timeout",
        "retry_count": 2,
        "started_after_us": 1_000_000,
        "ended_after_us": 3_500_000,
    }


@pytest.mark.parametrize(
    ("data", "subject"),
    [
        (payload(dubbing_ms=-1), ("dana", RECEIVED_US)),
        (payload_with("dubbing_ms", "NaN"), ("dana", RECEIVED_US)),
        (payload_with("dubbing_ms", "1e400"), ("dana", RECEIVED_US)),
        (payload_with("original_bytes", "1" * 5000), ("dana", RECEIVED_US)),
        (payload_with("error", b'"\xff"'), ("dana", RECEIVED_US)),
        (payload_with("x", "[" * 200_000), ("dana", RECEIVED_US)),
        (payload()[:-1], ("dana", RECEIVED_US)),
        (payload() + b"}", ("dana", RECEIVED_US)),
        (b"\xef\xbb\xbf" + payload(), ("dana", RECEIVED_US)),
        (payload(user_id="דנה")[:-20], ("דנה", RECEIVED_US)),
        (payload(user_id="da\nna"), ("da\nna", RECEIVED_US)),
        (payload(user_id="x" * 129), ("x" * 129, RECEIVED_US)),
        (payload(user_id=5), (None, RECEIVED_US)),
        (payload_with("user_id", '"\\ud800"'), (None, RECEIVED_US)),
        (payload(received_at="yesterday"), ("dana", None)),
        (payload_with("received_at", '"\\ud800"'), ("dana", None)),
        (payload(received_at=5), ("dana", None)),
        (payload(received_at=None), ("dana", None)),
        (b'{"user_id": "dana"}', ("dana", None)),
        (b'"user_id": "da', (None, None)),
        (b'["user_id"]', (None, None)),
        (b"null", (None, None)),
        (b"", (None, None)),
        (b"\xff\xfe", (None, None)),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else repr(value)[:40],
)
def test_whose_a_refused_payload_is_gets_read_as_far_as_it_can_be(
    data: bytes, subject: tuple[str | None, int | None]
) -> None:
    assert events.subject_of(data) == subject
