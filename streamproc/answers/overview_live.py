"""The live figures of all pods together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from streamproc.answers.overview_results import LiveChannel, LiveState, LiveWindow
from streamproc.core.live import Figures, LiveRow, quantile_us
from streamproc.metrics import LATENCY_BOUNDS_US
from streamproc.stores.redis.presence import PodReport

_WINDOWS = 2


def live_of(reports: Sequence[PodReport], window_ms: int) -> LiveState:
    """The newest windows over all pods, and the busiest channels in them.

    Sums of windows are complete. A channel lacks what a pod counted of it that has it not among its busiest; its
    percentiles lack pods of a version with other latency buckets.
    """
    starts_ms = sorted({one.start_ms for report in reports for one in report.windows}, reverse=True)[:_WINDOWS]
    windows = [_window(start_ms, window_ms, reports) for start_ms in starts_ms]
    channels: dict[str, Figures] = {}
    for row in _rows(reports, starts_ms):
        of_channel = channels.setdefault(row.channel_id, Figures.none(len(LATENCY_BOUNDS_US)))
        of_channel.add(row.segments, row.errors, row.sum_total_us, row.buckets)
    busiest = sorted(channels, key=lambda channel_id: (-channels[channel_id].segments, channel_id))
    return LiveState(windows=windows, channels=[_channel(name, channels[name]) for name in busiest])


def _window(start_ms: int, window_ms: int, reports: Sequence[PodReport]) -> LiveWindow:
    sums = [one for report in reports for one in report.windows if one.start_ms == start_ms]
    named = {row.channel_id for row in _rows(reports, [start_ms])}
    return LiveWindow(
        start=datetime.fromtimestamp(start_ms / 1000, UTC),
        end=datetime.fromtimestamp((start_ms + window_ms) / 1000, UTC),
        segments=sum(one.segments for one in sums),
        errors=sum(one.errors for one in sums),
        channels=max(len(named), *(one.channels for one in sums)),
    )


def _rows(reports: Sequence[PodReport], starts_ms: Sequence[int]) -> Iterator[LiveRow]:
    """The rows of some windows; without buckets where they are not ours."""
    for report in reports:
        ours = tuple(report.bounds_us) == LATENCY_BOUNDS_US
        for row in report.channels:
            if row.start_ms in starts_ms:
                yield row if ours else row._replace(buckets=(0,) * (len(LATENCY_BOUNDS_US) + 1))


def _channel(channel_id: str, figures: Figures) -> LiveChannel:
    segments = figures.segments
    return LiveChannel(
        channel_id=channel_id,
        segments=segments,
        errors=figures.errors,
        error_rate=figures.errors / segments if segments else 0.0,
        avg_total_ms=figures.sum_total_us / segments / 1000 if segments else None,
        p50_total_ms=_quantile_ms(0.5, figures),
        p95_total_ms=_quantile_ms(0.95, figures),
    )


def _quantile_ms(q: float, figures: Figures) -> float | None:
    found_us = quantile_us(q, LATENCY_BOUNDS_US, figures.buckets)
    return None if found_us is None else found_us / 1000
