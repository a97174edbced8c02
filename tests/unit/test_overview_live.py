"""Live figures of several pods add up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamproc.answers.overview_live import live_of
from streamproc.core.live import LiveRow
from streamproc.metrics import LATENCY_BOUNDS_US
from streamproc.stores.redis.presence import LiveSum, PodReport

HOUR_MS = 3_600_000
NINE, TEN, ELEVEN = 9 * HOUR_MS, 10 * HOUR_MS, 11 * HOUR_MS
BOUNDS = list(LATENCY_BOUNDS_US)


def buckets(**counts: int) -> tuple[int, ...]:
    """Buckets by number: `b0=2` are two segments up to the first bound."""
    return tuple(counts.get(f"b{position}", 0) for position in range(len(BOUNDS) + 1))


def report(*rows: LiveRow, windows: list[LiveSum], bounds_us: list[int] = BOUNDS) -> PodReport:
    return PodReport(version="1", started_at_ms=0, windows=windows, bounds_us=bounds_us, channels=list(rows))


def test_windows_and_channels_of_all_pods_add_up() -> None:
    one = report(
        LiveRow(TEN, "kan", 2, 1, 200_000, buckets(b0=2)),
        LiveRow(ELEVEN, "reshet", 1, 0, 50_000, buckets(b0=1)),
        windows=[LiveSum(ELEVEN, 1, 0, 1), LiveSum(TEN, 2, 1, 1)],
    )
    other = report(LiveRow(TEN, "kan", 2, 0, 600_000, buckets(b1=2)), windows=[LiveSum(TEN, 2, 0, 1)])
    live = live_of([one, other], HOUR_MS)
    assert [(window.start, window.segments, window.errors, window.channels) for window in live.windows] == [
        (datetime.fromtimestamp(ELEVEN / 1000, UTC), 1, 0, 1),
        (datetime.fromtimestamp(TEN / 1000, UTC), 4, 1, 1),
    ]
    assert live.windows[1].end == live.windows[0].start
    kan, reshet = live.channels
    assert (kan.channel_id, kan.segments, kan.errors, kan.error_rate, kan.avg_total_ms) == ("kan", 4, 1, 0.25, 200)
    assert kan.p50_total_ms == pytest.approx(100)
    assert kan.p95_total_ms == pytest.approx(235)
    assert (reshet.channel_id, reshet.segments) == ("reshet", 1)


def test_only_the_newest_two_windows_of_all_pods_are_shown() -> None:
    idle = report(LiveRow(NINE, "kan", 9, 0, 9, buckets(b0=9)), windows=[LiveSum(NINE, 9, 0, 1)])
    busy = report(windows=[LiveSum(ELEVEN, 1, 0, 1), LiveSum(TEN, 1, 0, 1)])
    live = live_of([idle, busy], HOUR_MS)
    assert [window.start.hour for window in live.windows] == [11, 10]
    assert live.channels == []


def test_a_window_counts_channels_beyond_those_named() -> None:
    one = report(LiveRow(TEN, "kan", 2, 0, 2, buckets(b0=2)), windows=[LiveSum(TEN, 90, 0, 70)])
    live = live_of([one], HOUR_MS)
    assert (live.windows[0].segments, live.windows[0].channels) == (90, 70)


def test_a_pod_with_other_latency_buckets_counts_but_for_the_percentiles() -> None:
    odd = report(LiveRow(TEN, "kan", 2, 0, 200_000, (0, 2)), windows=[LiveSum(TEN, 2, 0, 1)], bounds_us=[1])
    (kan,) = live_of([odd], HOUR_MS).channels
    assert (kan.segments, kan.avg_total_ms, kan.p50_total_ms) == (2, 100, None)


def test_without_pods_there_are_no_live_figures() -> None:
    live = live_of([], HOUR_MS)
    assert (live.windows, live.channels) == ([], [])
