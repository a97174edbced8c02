"""Hourly windows: which window a segment belongs to, what the window is called, when it is due.

A window is a tumbling interval ``[start_ms, start_ms + length_ms)`` of event time, kept apart per
(channel, session, user). ``start = floor(epoch / length) * length``, so windows need no registry: every
pod computes the same one from the event alone.

All times are integer milliseconds since the Unix epoch, UTC, unless a name says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

_SECOND_MS = 1000
_HOUR_MS = 3_600_000
_ESCAPES = str.maketrans({"%": "%25", ":": "%3A", "{": "%7B", "}": "%7D"})
_structure = re.compile("[%:{}]").search


class WindowKey(NamedTuple):
    """Names one window: one hour of one session on one channel by one user."""

    start_ms: int
    channel_id: str
    session_id: str
    user_id: str


class Frame(NamedTuple):
    """What the events of one window's time have in common. Worked out once, not for every event."""

    start_ms: int
    #: Event times from `from_us` up to, not including, `to_us` (microseconds) fall into the window.
    from_us: int
    to_us: int
    #: Entries added before this are in time, and the window is due at it.
    due_ms: int
    #: Entries added after this are too late.
    late_until_ms: int


def escape(identifier: str) -> str:
    """Percent-escape the characters that would be structure inside a Redis key: ``% : { }``."""
    # Nearly none has any, and looking is four times as fast as translating.
    return identifier.translate(_ESCAPES) if _structure(identifier) else identifier


def unescape(text: str) -> str:
    """Undo `escape`. ``%25`` last, so that an escaped percent sign is not read twice."""
    if "%" not in text:
        return text
    return text.replace("%7D", "}").replace("%7B", "{").replace("%3A", ":").replace("%25", "%")


@dataclass(frozen=True, slots=True)
class Windowing:
    """The arithmetic of windows, fixed for the life of a stream.

    Args:
        length_ms: window length; a whole number of seconds.
        grace_ms: how long after its end a window waits for events before it is due.
        horizon_ms: how long after its end a window still takes late events.
        quiet_ms: how long a closed window that took a late event waits for more before it is flushed again.
        future_ms: how far ahead of its entry id an event's time may lie.
    """

    length_ms: int = _HOUR_MS
    grace_ms: int = 120_000
    horizon_ms: int = 86_400_000
    quiet_ms: int = 30_000
    future_ms: int = 300_000

    def __post_init__(self) -> None:
        if self.length_ms < _SECOND_MS or self.length_ms % _SECOND_MS:
            raise ValueError(f"length_ms must be a whole number of seconds, got {self.length_ms}")

    def start_of(self, event_ms: int) -> int:
        """The start of the window that holds `event_ms`."""
        return event_ms - event_ms % self.length_ms

    def end_of(self, start_ms: int) -> int:
        return start_ms + self.length_ms

    def frame_of(self, event_us: int) -> Frame:
        """The frame of the window that holds `event_us`, microseconds since the epoch."""
        start_ms = self.start_of(event_us // 1000)
        end_ms = self.end_of(start_ms)
        return Frame(start_ms, start_ms * 1000, end_ms * 1000, end_ms + self.grace_ms, self.late_until(start_ms))

    def due_at(self, start_ms: int, added_ms: int) -> int:
        """The low watermark at which a window that counted an entry added at `added_ms` is to be flushed.

        An entry that came in time waits for the window's end plus grace; a late one for the quiet time after it.
        """
        on_time = start_ms + self.length_ms + self.grace_ms
        return on_time if added_ms < on_time else added_ms + self.quiet_ms

    def late_until(self, start_ms: int) -> int:
        """When the last entry may be added that still counts."""
        return start_ms + self.length_ms + self.horizon_ms

    def forgettable_at(self, start_ms: int) -> int:
        """The low watermark from which nothing added can belong to the window any more.

        Not at once when the last may be added: Redis' clock may be set back, by an administrator or a failover, as far
        as clocks are taken to disagree.
        """
        return self.late_until(start_ms) + self.future_ms

    def hour_name(self, start_ms: int) -> str:
        """``YYYYMMDDHH`` in UTC, with ``MMSS`` after it where windows are not whole hours."""
        return _hour_name(start_ms, self._hour_form)

    def name(self, key: WindowKey) -> str:
        """``<hour>:<channel>:<session>:<user>``, identifiers escaped: the window's name in Redis."""
        return f"{self.hour_name(key.start_ms)}:{escape(key.channel_id)}:{escape(key.session_id)}:{escape(key.user_id)}"

    def parse_name(self, name: str) -> WindowKey:
        """Undo `name`.

        Raises:
            ValueError: `name` was not made by this windowing.
        """
        hour, *identifiers = name.split(":")
        try:
            key = WindowKey(_hour_start_ms(hour, self._hour_form), *map(unescape, identifiers))
        except (ValueError, TypeError):
            key = None
        if key is None or self.start_of(key.start_ms) != key.start_ms or self.name(key) != name:
            form = f"<hour>:<channel>:<session>:<user>, escaped, with an hour like {self.hour_name(0)}"
            raise ValueError(f"{name!r} does not name a window of {self.length_ms // _SECOND_MS} s: expected {form}")
        return key

    @property
    def _hour_form(self) -> str:
        return "%Y%m%d%H" if self.length_ms % _HOUR_MS == 0 else "%Y%m%d%H%M%S"


# Of a hundred thousand windows that close at once nearly all have the same hour.
@lru_cache(maxsize=1000)
def _hour_name(start_ms: int, form: str) -> str:
    return datetime.fromtimestamp(start_ms / 1000, UTC).strftime(form)


@lru_cache(maxsize=1000)
def _hour_start_ms(hour: str, form: str) -> int:
    return int(datetime.strptime(hour, form).replace(tzinfo=UTC).timestamp()) * 1000
