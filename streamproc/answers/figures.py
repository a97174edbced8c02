"""From what windows come to, to the rows of an answer."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from streamproc.answers.results import DayRow, Figures, HourRow, Segment, SessionHourRow, UserDayRow
from streamproc.core.details import Detail
from streamproc.core.rows import Sum, Window
from streamproc.core.rows import date as utc
from streamproc.core.windows import WindowKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US_PER_MS = 1000
_SEGMENTS_PER_HOUR = 240


def figures(total: Sum) -> Figures:
    return Figures(**_figures(total))


def hour_row(start_ms: int, total: Sum) -> HourRow:
    return HourRow(utc(start_ms), total.state, len(total.sessions), **_figures(total))


def day_row(day: date, total: Sum) -> DayRow:
    return DayRow(day, total.state, len(total.sessions), **_figures(total))


def user_day_row(day: date, total: Sum) -> UserDayRow:
    return UserDayRow(day, total.state, len(total.sessions), dubbed_hours(total), **_figures(total))


def session_hour_row(key: WindowKey, window: Window) -> SessionHourRow:
    platform, revision = window.document["metadata"]["platform"], window.document["metadata"]["revision"]
    where = (key.channel_id, key.user_id, platform, revision)
    return SessionHourRow(utc(key.start_ms), window.state, *where, **_figures(Sum.of([window])))


def dubbed_hours(total: Sum) -> float:
    """Hours of dubbed video: a segment lasts 15 s."""
    return total.aggregate.segments / _SEGMENTS_PER_HOUR


def segment(key: WindowKey, segment_id: str, detail: Detail) -> Segment:
    return Segment(
        received_at=_moment(detail.received_at_us),
        segment_id=segment_id,
        session_id=key.session_id,
        user_id=key.user_id,
        extraction_ms=detail.extraction_us / _US_PER_MS,
        dubbing_ms=detail.dubbing_us / _US_PER_MS,
        reinsertion_ms=detail.reinsertion_us / _US_PER_MS,
        total_ms=detail.total_us / _US_PER_MS,
        original_bytes=detail.original_bytes,
        dubbed_bytes=detail.dubbed_bytes,
        source_language=detail.source_language,
        target_language=detail.target_language,
        platform=detail.platform,
        error=detail.error or None,
        retry_count=detail.retry_count,
        processing_started_at=_known_moment(detail.processing_started_at_us),
        processing_ended_at=_known_moment(detail.processing_ended_at_us),
    )


def _figures(total: Sum) -> dict[str, Any]:
    one = total.aggregate
    p50, p95, p99 = total.percentiles_ms
    return {
        "segments": one.segments,
        "errors": one.errors,
        "error_rate": one.error_rate,
        "retries": one.retries,
        "avg_extraction_ms": one.mean_ms(one.extraction_us),
        "avg_dubbing_ms": one.mean_ms(one.dubbing_us),
        "avg_reinsertion_ms": one.mean_ms(one.reinsertion_us),
        "avg_total_ms": one.mean_ms(one.total_us),
        "total_processing_time_ms": one.total_us / _US_PER_MS,
        "min_total_ms": None if one.min_total_us is None else one.min_total_us / _US_PER_MS,
        "max_total_ms": None if one.max_total_us is None else one.max_total_us / _US_PER_MS,
        "p50_total_ms": p50,
        "p95_total_ms": p95,
        "p99_total_ms": p99,
        "original_bytes": one.original_bytes,
        "dubbed_bytes": one.dubbed_bytes,
        "source_languages": dict(sorted(one.source_languages.items())),
        "target_languages": dict(sorted(one.target_languages.items())),
        "first_segment_at": None if one.first_ms is None else utc(one.first_ms),
        "last_segment_at": None if one.last_ms is None else utc(one.last_ms),
    }


def _moment(epoch_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=epoch_us)


def _known_moment(epoch_us: int | None) -> datetime | None:
    """None also of a time that, in UTC, lies before the year 1 or after 9999."""
    try:
        return None if epoch_us is None else _moment(epoch_us)
    except OverflowError:
        return None
