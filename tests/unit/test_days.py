from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from streamproc.core.days import begin_ms, day_of, days_back, time_zone

HOUR_MS = 3_600_000


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


def test_a_day_of_a_zone_begins_at_its_midnight() -> None:
    assert begin_ms(date(2026, 7, 1), ZoneInfo("Asia/Jerusalem")) == ms(2026, 6, 30, 21)


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 6, 1), 24), (date(2026, 10, 25), 25)], ids=str
)
def test_days_on_which_clocks_change_have_23_and_25_hours(day: date, hours: int) -> None:
    zone = ZoneInfo("Europe/London")
    following = date.fromordinal(day.toordinal() + 1)
    first, end = begin_ms(day, zone), begin_ms(following, zone)
    starts = range(first, end, HOUR_MS)
    assert len(starts) == hours
    assert {day_of(start, zone) for start in starts} == {day}
    assert day_of(end, zone) == following


def test_where_clocks_skip_midnight_the_day_begins_when_they_were_put_forward() -> None:
    zone = ZoneInfo("America/Santiago")  # 2026-09-06: from 24:00 to 01:00
    first = begin_ms(date(2026, 9, 6), zone)
    assert (day_of(first, zone), day_of(first - 1, zone)) == (date(2026, 9, 6), date(2026, 9, 5))


def test_an_hour_that_straddles_midnight_belongs_to_the_day_it_starts_in() -> None:
    zone = ZoneInfo("Asia/Kathmandu")  # 5 h 45 min ahead: midnight is at 18:15
    assert day_of(ms(2026, 5, 1, 18), zone) == date(2026, 5, 1)
    assert day_of(ms(2026, 5, 1, 19), zone) == date(2026, 5, 2)


def test_the_last_of_some_days_is_today() -> None:
    assert days_back(ms(2026, 5, 10, 12), 7, ZoneInfo("UTC")) == date(2026, 5, 4)
    assert days_back(ms(2026, 5, 10, 12), 1, ZoneInfo("UTC")) == date(2026, 5, 10)


@pytest.mark.parametrize("name", ["Mars/Olympus", "America", "", "../etc/passwd", "/etc/passwd", "UTC\0", "a" * 5000])
def test_a_name_of_no_zone_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="tz must be the name of a time zone, such as UTC"):
        time_zone(name)
