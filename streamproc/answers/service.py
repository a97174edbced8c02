"""The questions: what happened on a channel just now, by hour and by day; what a user has used; what a session came to.

    from streamproc import DubbingMetricsService

    service = DubbingMetricsService(redis, mongo_database, settings)
    trends = await service.get_daily_trends("kan-11", days=7, tz="Asia/Jerusalem")

An answer is what was counted until it was asked for: stored hours from MongoDB, what is not stored yet from Redis, each
window once (how: `seam`). Where one of the servers is away, the rest is answered, within some three seconds, and
`missing` says what it lacks. A channel, user or session that nobody knows has an empty answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import date
from typing import Any, Final, Protocol, TypeVar
from zoneinfo import ZoneInfo

from pymongo.asynchronous.database import AsyncDatabase

from streamproc.answers import figures
from streamproc.answers.hours import ChannelHours
from streamproc.answers.latest import LatestHours
from streamproc.answers.limits import (
    MAX_DAYS,
    MAX_HOURS,
    MAX_LIMIT,
    MAX_MINUTES,
    MAX_SEGMENTS,
    check_id,
    check_number,
)
from streamproc.answers.recent import RecentChannels, recent
from streamproc.answers.results import (
    Channels,
    DailyTrends,
    HourlyMetrics,
    LastHours,
    RecentSegments,
    SessionHours,
    UserActivity,
)
from streamproc.answers.seam import Seam
from streamproc.core.commits import shard_of
from streamproc.core.days import begin_ms, day_of, days_back, time_zone
from streamproc.core.rows import Sum
from streamproc.core.rows import date as utc
from streamproc.core.windows import Windowing
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.redis.connect import AnyRedis
from streamproc.stores.redis.reading import WindowReader
from streamproc.stores.redis.shard import Shard

_T = TypeVar("_T")

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000


class ServiceSettings(Protocol):
    """What must be as the workers have it; `streamproc.app.settings.Settings` is one."""

    @property
    def prefix(self) -> str: ...
    @property
    def shards(self) -> int: ...
    @property
    def group(self) -> str: ...
    @property
    def windowing(self) -> Windowing: ...


class DubbingMetricsService:
    """Answers questions; writes nothing. One for a process: it remembers sums for a minute.

    Every question raises ValueError, which says what is allowed, for an argument out of range; and
    `streamproc.stores.redis.shard.LayoutMismatch` if the data was made with other settings.

    Args:
        redis: any client of redis.asyncio; the caller's to close, as all that is given.
        mongo_database: of pymongo's AsyncMongoClient.
        settings: as the workers have them.
    """

    def __init__(self, redis: AnyRedis, mongo_database: AsyncDatabase[Any], settings: ServiceSettings) -> None:
        windowing = self._windowing = settings.windowing
        shards = [
            Shard(redis, number=number, prefix=settings.prefix, group=settings.group)
            for number in range(settings.shards)
        ]
        self._readers = [WindowReader(shard, windowing) for shard in shards]
        self._seam = Seam(self._readers, MeasurementReader(mongo_database))
        self._hours = ChannelHours(self._seam, windowing)
        self._latest = LatestHours(self._seam, windowing)
        self._channels = RecentChannels(self._seam)

    async def get_recent_segments(self, channel_id: str, minutes: int = 5) -> RecentSegments:
        """The channel's segments of the last `minutes` (1 to 1440), in detail, from Redis. Newest first."""
        check_id("channel_id", channel_id)
        check_number("minutes", minutes, MAX_MINUTES)
        now_ms = _now_ms()
        since_ms = now_ms - minutes * _MINUTE_MS
        starts = self._windowing.start_of(since_ms), self._until_ms(now_ms)
        found = await recent(self._seam, channel_id, starts, since_ms, most=MAX_SEGMENTS)
        return RecentSegments(
            missing=found.missing,
            since=utc(since_ms),
            until=utc(now_ms),
            channel_id=channel_id,
            cut=found.cut,
            segments=[figures.segment(*one) for one in found.newest],
        )

    async def get_hourly_metrics(self, channel_id: str, hours: int = 24) -> HourlyMetrics:
        """The channel's last `hours` (1 to 2160), of which the last is the present one."""
        check_id("channel_id", channel_id)
        check_number("hours", hours, MAX_HOURS)
        now_ms = _now_ms()
        # So long ago that of hours there are as many as were asked for.
        since_ms = now_ms - hours * _HOUR_MS + 1
        found = await self._hours.of(channel_id, since_ms, self._until_ms(now_ms))
        return HourlyMetrics(
            missing=found.missing,
            since=utc(self._first_start_ms(since_ms)),
            until=utc(now_ms),
            channel_id=channel_id,
            hours=[figures.hour_row(start_ms, one) for start_ms, one in sorted(found.sums.items())],
        )

    async def get_daily_trends(self, channel_id: str, days: int = 7, tz: str = "UTC") -> DailyTrends:
        """The channel's last `days` (1 to 90) of the time zone `tz`, today included. Hours belong to the day in which
        they start.
        """
        check_id("channel_id", channel_id)
        check_number("days", days, MAX_DAYS)
        zone = time_zone(tz)
        now_ms = _now_ms()
        since_ms = begin_ms(days_back(now_ms, days, zone), zone)
        found = await self._hours.of(channel_id, since_ms, self._until_ms(now_ms))
        by_day = _by_day(found.sums.items(), zone)
        return DailyTrends(
            missing=found.missing,
            since=utc(since_ms),
            until=utc(now_ms),
            channel_id=channel_id,
            time_zone=tz,
            days=[figures.day_row(day, Sum.merged(sums)) for day, sums in by_day.items()],
        )

    async def get_user_activity(self, user_id: str, days: int = 30, tz: str = "UTC") -> UserActivity:
        """The user's last `days` (1 to 90), as `get_daily_trends`; `total_hours` of dubbed video is what is billed."""
        check_id("user_id", user_id)
        check_number("days", days, MAX_DAYS)
        zone = time_zone(tz)
        now_ms = _now_ms()
        since_ms = begin_ms(days_back(now_ms, days, zone), zone)
        times = since_ms, self._until_ms(now_ms)
        sight = await self._seam.look(lambda reader: reader.of_user(user_id, *times))
        found = await self._seam.join(sight, lambda measurements: measurements.of_user(user_id, *times))
        windows = ((key.start_ms, window) for key, window in found.windows.items())
        by_day = {day: Sum.of(those) for day, those in _by_day(windows, zone).items()}
        total = Sum.merged(by_day.values())
        return UserActivity(
            missing=found.missing,
            since=utc(since_ms),
            until=utc(now_ms),
            user_id=user_id,
            time_zone=tz,
            total_hours=figures.dubbed_hours(total),
            total=figures.figures(total),
            days=[figures.user_day_row(day, one) for day, one in by_day.items()],
        )

    async def get_session_hours(self, session_id: str) -> SessionHours:
        """All hours of the session that there still are: those of the last 90 days."""
        check_id("session_id", session_id)
        now_ms = _now_ms()
        times = now_ms - MAX_DAYS * _DAY_MS, self._until_ms(now_ms)
        reader = self._readers[shard_of(session_id, len(self._readers))]
        sight = await self._seam.look(lambda reader: reader.of_session(session_id), [reader])
        found = await self._seam.join(
            sight,
            lambda measurements: measurements.of_session(session_id, *times),
            otherwise=lambda reader: reader.of_session(session_id, also_closed=True),
        )
        return SessionHours(
            missing=found.missing,
            since=utc(times[0]),
            until=utc(now_ms),
            session_id=session_id,
            hours=[figures.session_hour_row(key, window) for key, window in sorted(found.windows.items())],
        )

    async def get_last_hours(self, limit: int = 20) -> LastHours:
        """The last `limit` hours (1 to 168) of which something is stored, all channels together. Newest first.

        The figures are of what is stored; `rolling` says that more is to come.
        """
        check_number("limit", limit, MAX_LIMIT)
        now_ms = _now_ms()
        found = await self._latest.of(limit, now_ms)
        return LastHours(
            missing=found.missing,
            since=utc(min(found.sums, default=now_ms)),
            until=utc(now_ms),
            hours=[figures.hour_row(start_ms, one) for start_ms, one in found.sums.items()],
        )

    async def get_channels(self) -> Channels:
        """The channels that have had a segment in the last 24 hours, sorted."""
        now_ms = _now_ms()
        since_ms = now_ms - _DAY_MS
        found = await self._channels.of(self._windowing.start_of(since_ms))
        return Channels(missing=found.missing, since=utc(since_ms), until=utc(now_ms), channels=sorted(found.channels))

    def _until_ms(self, now_ms: int) -> int:
        """Where questions end: what is received by now may have been stamped by a clock that is ahead."""
        return now_ms + self._windowing.future_ms + 1

    def _first_start_ms(self, since_ms: int) -> int:
        return self._windowing.start_of(since_ms + self._windowing.length_ms - 1)


def _by_day(items: Iterable[tuple[int, _T]], zone: ZoneInfo) -> dict[date, list[_T]]:
    """What starts at these times, by the day that the time falls in; oldest first."""
    days: dict[date, list[_T]] = {}
    for start_ms, item in items:
        days.setdefault(day_of(start_ms, zone), []).append(item)
    return dict(sorted(days.items()))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
