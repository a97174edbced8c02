"""Days of a time zone: which day a moment falls in, and when a day begins. It has 23 or 25 hours when clocks change."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo


def time_zone(name: str) -> ZoneInfo:
    """The time zone of a name such as ``Asia/Jerusalem``.

    Raises:
        ValueError: there is none of that name; says what is allowed.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, TypeError, OSError):  # OSError: the name of a folder of zones, such as "America"
        message = f"tz must be the name of a time zone, such as UTC, Asia/Jerusalem or Europe/London, got {name!r}"
        raise ValueError(message) from None


def day_of(epoch_ms: int, zone: ZoneInfo) -> date:
    """The day that a moment falls in. A window belongs to the day in which it starts, whole: in zones that are half an
    hour off, one hour straddles each midnight.
    """
    return datetime.fromtimestamp(epoch_ms / 1000, zone).date()


def begin_ms(day: date, zone: ZoneInfo) -> int:
    """The first moment of a day. Where clocks skip midnight, that is when they were put forward."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def days_back(epoch_ms: int, days: int, zone: ZoneInfo) -> date:
    """The first of `days` days, of which the last is the one that the moment falls in."""
    return day_of(epoch_ms, zone) - timedelta(days=days - 1)
