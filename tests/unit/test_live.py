from __future__ import annotations

import pytest

from streamproc.core.details import Detail
from streamproc.core.live import OTHER, LiveRow, LiveWindows, quantile_us

TEN, ELEVEN, TWELVE = 36_000_000, 39_600_000, 43_200_000


def details(*totals_us: int, error: str = "") -> list[Detail]:
    return [Detail(0, 0, total, 0, total, 0, 0, "he", "en", error=error) for total in totals_us]


def live(max_channels: int = 500, keep: int = 2) -> LiveWindows:
    return LiveWindows([100, 200], max_channels=max_channels, keep=keep)


def test_totals_add_up_over_windows_and_calls() -> None:
    windows = live()
    windows.add(TEN, "kan", details(50, 150))
    windows.add(ELEVEN, "kan", details(250, error="timeout"))
    totals = windows.totals["kan"]
    assert (totals.segments, totals.errors, totals.sum_total_us) == (3, 1, 450)


def test_a_bound_belongs_to_the_bucket_below_it() -> None:
    windows = live()
    windows.add(TEN, "kan", details(0, 100, 101, 200, 201, 9_999))
    assert windows.totals["kan"].buckets == [2, 2, 2]
    assert windows.totals["kan"].cumulative() == [2, 4, 6]


def test_rows_show_each_window_and_channel_apart() -> None:
    windows = live()
    windows.add(ELEVEN, "kan", details(5, error="timeout"))
    windows.add(TEN, "reshet", details(7))
    windows.add(TEN, "kan", details(1, 2))
    windows.add(TEN, "kan", details(3))
    rows = [
        LiveRow(TEN, "kan", 3, 0, 6, (3, 0, 0)),
        LiveRow(TEN, "reshet", 1, 0, 7, (1, 0, 0)),
        LiveRow(ELEVEN, "kan", 1, 1, 5, (1, 0, 0)),
    ]
    assert windows.rows() == rows
    assert windows.rows(since_ms=ELEVEN) == rows[2:]


def test_rows_are_a_snapshot() -> None:
    windows = live()
    windows.add(TEN, "kan", details(1))
    before = windows.rows()
    windows.add(TEN, "kan", details(1))
    assert before == [LiveRow(TEN, "kan", 1, 0, 1, (1, 0, 0))]


def test_rows_have_the_latency_buckets_of_their_window_alone() -> None:
    windows = live()
    windows.add(TEN, "kan", details(50, 150, 999))
    windows.add(ELEVEN, "kan", details(150))
    assert [row.buckets for row in windows.rows()] == [(1, 1, 1), (0, 1, 0)]
    assert windows.totals["kan"].buckets == [1, 2, 1]


def test_totals_are_a_snapshot() -> None:
    windows = live()
    windows.add(TEN, "kan", details(1))
    before = windows.totals
    windows.add(TEN, "kan", details(1))
    assert (before["kan"].segments, before["kan"].buckets) == (1, [1, 0, 0])


def test_only_the_newest_windows_are_kept_but_totals_stay() -> None:
    windows = live()
    for start in (TEN, ELEVEN, TWELVE):
        windows.add(start, "kan", details(50, 150, error="timeout"))
    assert [row.start_ms for row in windows.rows()] == [ELEVEN, TWELVE]
    totals = windows.totals["kan"]
    assert (totals.segments, totals.errors, totals.sum_total_us, totals.buckets) == (6, 6, 600, [3, 3, 0])
    assert windows.errors == 6


def test_a_late_event_of_a_dropped_window_counts_in_the_totals_alone() -> None:
    windows = live()
    for start in (ELEVEN, TWELVE, TEN):
        windows.add(start, "kan", details(1))
    assert [row.start_ms for row in windows.rows()] == [ELEVEN, TWELVE]
    assert windows.totals["kan"].segments == 3


def test_channels_beyond_the_limit_are_counted_together_as_other() -> None:
    windows = live(max_channels=2)
    for channel in ("a", "b", "c", "d", "a"):
        windows.add(TEN, channel, details(1))
    assert {name: totals.segments for name, totals in windows.totals.items()} == {"a": 2, "b": 1, OTHER: 2}
    assert [row.channel_id for row in windows.rows()] == ["a", "b", OTHER]


def test_a_channel_that_has_a_name_keeps_it_in_later_windows() -> None:
    windows = live(max_channels=1)
    windows.add(TEN, "a", details(1))
    windows.add(ELEVEN, "b", details(1))
    windows.add(ELEVEN, "a", details(1))
    assert [(row.start_ms, row.channel_id) for row in windows.rows()] == [(TEN, "a"), (ELEVEN, "a"), (ELEVEN, OTHER)]


def test_errors_are_those_of_all_channels() -> None:
    windows = live()
    windows.add(TEN, "kan", details(1, 2, error="timeout"))
    windows.add(ELEVEN, "reshet", details(1, error="timeout"))
    windows.add(ELEVEN, "reshet", details(1))
    assert windows.errors == 3


@pytest.mark.parametrize(
    ("q", "buckets", "found_us"),
    [
        (0.5, [10, 0, 0], 50),  # half way through the first bucket, which begins at 0
        (0.5, [0, 10, 0], 150),
        (0.95, [50, 50, 0], 190),
        (0.5, [5, 5, 0], 100),  # the upper end of the first bucket, not somewhere in the second
        (1.0, [5, 5, 0], 200),
        (0.0, [0, 5, 0], 100),
        (0.9, [1, 0, 9], 200),  # above the last bound nothing is known
    ],
)
def test_a_quantile_lies_in_proportion_within_its_bucket(q: float, buckets: list[int], found_us: float) -> None:
    assert quantile_us(q, [100, 200], buckets) == pytest.approx(found_us)


def test_a_quantile_of_nothing_is_unknown() -> None:
    assert quantile_us(0.5, [100, 200], [0, 0, 0]) is None


@pytest.mark.parametrize("bounds", [[200, 100], [100, 100]])
def test_bounds_that_do_not_ascend_are_refused(bounds: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        LiveWindows(bounds)
