from __future__ import annotations

import dataclasses

import pytest

from streamproc.core.windows import Windowing, WindowKey, escape, unescape

HOUR_MS = 3_600_000
TEN = 1_714_557_600_000  # 2024-05-01T10:00:00Z
HOURLY = Windowing()
SHORT = Windowing(length_ms=5_000, grace_ms=1_000, horizon_ms=60_000, quiet_ms=2_000)


@pytest.mark.parametrize(
    ("event_ms", "start_ms"),
    [
        (TEN - 1, TEN - HOUR_MS),
        (TEN, TEN),
        (TEN + 1, TEN),
        (TEN + HOUR_MS - 1, TEN),
        (TEN + HOUR_MS, TEN + HOUR_MS),
        (0, 0),
        (HOUR_MS - 1, 0),
        (-1, -HOUR_MS),
        (-HOUR_MS, -HOUR_MS),
        (-HOUR_MS - 1, -2 * HOUR_MS),
    ],
)
def test_a_window_takes_its_start_and_not_its_end(event_ms: int, start_ms: int) -> None:
    assert HOURLY.start_of(event_ms) == start_ms
    assert HOURLY.end_of(start_ms) == start_ms + HOUR_MS


@pytest.mark.parametrize(
    ("length_ms", "start_ms", "name"),
    [
        (HOUR_MS, TEN, "2024050110"),
        (HOUR_MS, 0, "1970010100"),
        (2 * HOUR_MS, TEN, "2024050110"),
        (24 * HOUR_MS, TEN - 10 * HOUR_MS, "2024050100"),
        (5_000, TEN, "20240501100000"),
        (5_000, TEN + 65_000, "20240501100105"),
        (HOUR_MS // 2, TEN + HOUR_MS // 2, "20240501103000"),
        (HOUR_MS + 1_000, 0, "19700101000000"),
    ],
)
def test_an_hour_is_named_in_utc_with_minutes_only_where_windows_need_them(
    length_ms: int, start_ms: int, name: str
) -> None:
    assert Windowing(length_ms=length_ms).hour_name(start_ms) == name


def test_the_name_of_a_window_is_hour_channel_session_and_user_escaped() -> None:
    key = WindowKey(TEN, "kan:11", "{session}", "100% dana")
    assert HOURLY.name(key) == "2024050110:kan%3A11:%7Bsession%7D:100%25 dana"
    assert HOURLY.parse_name(HOURLY.name(key)) == key


@pytest.mark.parametrize("text", ["", "%", ":", "{}", "%3A", "%253A", "%25", "%%3A:", "%7d", "דנה", "a" * 128])
def test_escaping_is_undone_exactly(text: str) -> None:
    assert unescape(escape(text)) == text
    assert not set(escape(text)) & set(":{}")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "mark",
        "2024050110",
        "2024050110:a:b",
        "2024050110:a:b:c:d",
        "20240501100000:a:b:c",
        "2024050111:a:b:c",
        "2024053210:a:b:c",
        "2024-05-01:a:b:c",
        "202405011 :a:b:c",
        " 2024050110:a:b:c",
        "\uff12024050110:a:b:c",
        "202405011:a:b:c",
        ":a:b:c",
        "2024050110:a{:b:c",
        "2024050110:a:b:%",
        "2024050110:%3a:b:c",
    ],
)
def test_a_name_of_another_making_is_refused_with_what_was_expected(name: str) -> None:
    with pytest.raises(ValueError, match="does not name a window of 7200 s") as refused:
        Windowing(length_ms=2 * HOUR_MS).parse_name(name)
    assert repr(name) in str(refused.value)
    assert "<hour>:<channel>:<session>:<user>, escaped, with an hour like 1970010100" in str(refused.value)


def test_short_windows_refuse_the_name_of_an_hour_and_of_a_start_they_never_have() -> None:
    assert SHORT.parse_name("20240501100005:a:b:c") == WindowKey(TEN + 5_000, "a", "b", "c")
    for name in ("2024050110:a:b:c", "20240501100003:a:b:c"):
        with pytest.raises(ValueError, match="does not name a window of 5 s"):
            SHORT.parse_name(name)


@pytest.mark.parametrize("length_ms", [-HOUR_MS, 0, 1, 999, 1_001, HOUR_MS + 1])
def test_a_length_that_is_no_whole_number_of_seconds_is_refused(length_ms: int) -> None:
    with pytest.raises(ValueError, match=f"length_ms must be a whole number of seconds, got {length_ms}"):
        Windowing(length_ms=length_ms)


@pytest.mark.parametrize("length_ms", [1_000, 5_000, HOUR_MS])
def test_a_whole_number_of_seconds_is_a_length(length_ms: int) -> None:
    assert Windowing(length_ms=length_ms).end_of(0) == length_ms


ON_TIME = TEN + HOUR_MS + HOURLY.grace_ms


@pytest.mark.parametrize(
    ("added_ms", "due_ms"),
    [
        (TEN, ON_TIME),
        (TEN + HOUR_MS, ON_TIME),
        (ON_TIME - 1, ON_TIME),
        (ON_TIME, ON_TIME + HOURLY.quiet_ms),
        (ON_TIME + 1, ON_TIME + 1 + HOURLY.quiet_ms),
        (ON_TIME + HOURLY.horizon_ms, ON_TIME + HOURLY.horizon_ms + HOURLY.quiet_ms),
    ],
)
def test_a_window_is_due_after_its_grace_and_after_a_late_entry_when_it_has_been_quiet(
    added_ms: int, due_ms: int
) -> None:
    assert HOURLY.due_at(TEN, added_ms) == due_ms


def test_a_window_takes_late_entries_until_its_end_plus_horizon() -> None:
    assert HOURLY.late_until(TEN) == TEN + HOUR_MS + 86_400_000
    assert SHORT.late_until(TEN) == TEN + 5_000 + 60_000


def test_a_window_is_kept_longer_than_it_takes_late_entries_as_the_clock_may_be_set_back() -> None:
    assert HOURLY.forgettable_at(TEN) == HOURLY.late_until(TEN) + HOURLY.future_ms


def test_a_windowing_is_fixed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        HOURLY.length_ms = 1_000  # type: ignore[misc]
