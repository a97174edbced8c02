"""What may be asked, at most, and the words for who asks for more."""

from __future__ import annotations

from typing import Final

MAX_MINUTES: Final = 1440
#: 90 days, for which measurements are kept.
MAX_HOURS: Final = 2160
MAX_DAYS: Final = 90
MAX_LIMIT: Final = 168
#: Of one answer; the newest are given.
MAX_SEGMENTS: Final = 10_000
#: As in an event.
MAX_ID_CHARACTERS: Final = 128


def check_number(name: str, value: int, most: int) -> None:
    """Raises ValueError, saying what is allowed, unless `value` is a whole number from 1 to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most}, got {value!r}")


def check_id(name: str, value: str) -> None:
    """Raises ValueError, saying what is allowed, unless `value` can be the id of something."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID_CHARACTERS or not value.isprintable():
        raise ValueError(f"{name} must have 1 to {MAX_ID_CHARACTERS} printable characters, got {value!r:.150}")
