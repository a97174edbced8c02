"""What the questions answer with: typed, immutable, and exactly the JSON of the API (``msgspec.json.encode(answer)``).

Times are aware datetimes in UTC, in JSON RFC 3339 with ``Z``. Durations are milliseconds, rates lie in 0..1, bytes are
bytes. A percentile of one window is exact; one of several windows comes from their merged histograms, within 2 %.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

import msgspec

from streamproc.core.rows import State as _State

State = Annotated[
    _State,
    msgspec.Meta(
        description="rolling: some window of the row is not stored yet. revised: all are, but Redis holds more "
        "segments of one than are stored (a late event, which the figures include; the next flush stores it). "
        "final: as stored."
    ),
]
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Missing(msgspec.Struct, frozen=True):
    """A layer that could not be asked, and why: what it alone holds is not in the answer."""

    layer: Literal["redis", "mongodb"]
    reason: str


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a number of segments come to. Means and rates come from sums; without segments they are 0, the rest null."""

    segments: int
    errors: int
    error_rate: float
    retries: int
    avg_extraction_ms: float
    avg_dubbing_ms: float
    avg_reinsertion_ms: float
    avg_total_ms: float
    total_processing_time_ms: float
    min_total_ms: float | None
    max_total_ms: float | None
    p50_total_ms: float | None
    p95_total_ms: float | None
    p99_total_ms: float | None
    original_bytes: int
    dubbed_bytes: int
    source_languages: dict[str, int]
    target_languages: dict[str, int]
    first_segment_at: Time | None
    last_segment_at: Time | None


class HourRow(Figures, frozen=True):
    """One hour (or shorter window, by its start) of many sessions."""

    hour: Time
    state: State
    sessions: int


class DayRow(Figures, frozen=True):
    """One day of the time zone asked for: the windows that start in it."""

    day: date
    state: State
    sessions: int


class UserDayRow(Figures, frozen=True):
    """One day of a user. `total_hours` is dubbed video: a segment lasts 15 s."""

    day: date
    state: State
    sessions: int
    total_hours: float


class SessionHourRow(Figures, frozen=True):
    """One window of a session. `revision` is the number of its segments, as stored or as it will be."""

    hour: Time
    state: State
    channel_id: str
    user_id: str
    platform: str
    revision: int


class Segment(msgspec.Struct, frozen=True):
    """One segment in detail. `error` is null where there was none."""

    received_at: Time
    segment_id: str
    session_id: str
    user_id: str
    extraction_ms: float
    dubbing_ms: float
    reinsertion_ms: float
    total_ms: float
    original_bytes: int
    dubbed_bytes: int
    source_language: str
    target_language: str
    platform: str
    error: str | None
    retry_count: int
    processing_started_at: Time | None
    processing_ended_at: Time | None


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename={"since": "from", "until": "to"}):
    """What every answer carries: what is missing from it (nothing, usually), and the time asked about."""

    missing: list[Missing]
    since: Time
    until: Time


class RecentSegments(Answer, frozen=True, kw_only=True):
    """The segments of a channel, newest first; `cut` where there were more than one answer holds (10,000)."""

    channel_id: str
    cut: bool
    segments: list[Segment]


class HourlyMetrics(Answer, frozen=True, kw_only=True):
    """The hours of a channel, oldest first; hours without segments are absent."""

    channel_id: str
    hours: list[HourRow]


class DailyTrends(Answer, frozen=True, kw_only=True):
    """The days of a channel, oldest first; days without segments are absent."""

    channel_id: str
    time_zone: str
    days: list[DayRow]


class UserActivity(Answer, frozen=True, kw_only=True):
    """The days of a user, oldest first, and what they come to. `total_hours` is what is billed: segments / 240."""

    user_id: str
    time_zone: str
    total_hours: float
    total: Figures
    days: list[UserDayRow]


class SessionHours(Answer, frozen=True, kw_only=True):
    """The windows of a session, oldest first."""

    session_id: str
    hours: list[SessionHourRow]


class Channels(Answer, frozen=True, kw_only=True):
    """Channels with a window in the last 24 hours, sorted."""

    channels: list[str]


class LastHours(Answer, frozen=True, kw_only=True):
    """The last hours of all channels together, newest first, as they are stored."""

    hours: list[HourRow]
