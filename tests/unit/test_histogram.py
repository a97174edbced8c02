from __future__ import annotations

import pytest

from streamproc.core.histogram import GAMMA, ZERO_BUCKET, LatencyHistogram, nearest_rank


def test_zero_one_and_two_microseconds_fall_where_the_definition_says() -> None:
    # gamma**17 = 1.974 < 2 <= gamma**18 = 2.054
    assert LatencyHistogram.of([0, 0, 1, 2]).counts == {ZERO_BUCKET: 2, 0: 1, 18: 1}


@pytest.mark.parametrize("bucket", [1, 50, 300, 577, 900])
def test_a_bucket_ends_at_its_power_of_gamma(bucket: int) -> None:
    end = 51**bucket // 49**bucket
    assert end == pytest.approx(GAMMA**bucket, rel=1e-9, abs=1)
    assert max(LatencyHistogram.of([end]).counts) <= bucket
    assert min(LatencyHistogram.of([end + 1]).counts) > bucket


def test_document_lists_buckets_as_strings_in_numerical_order() -> None:
    document = LatencyHistogram.of([1_000_000, 2, 0, 1_000_000]).to_document()
    assert list(document.items()) == [("-1", 1), ("18", 1), ("346", 2)]


def test_merging_leaves_both_histograms_as_they_were() -> None:
    one, two = LatencyHistogram.of([1, 2]), LatencyHistogram.of([2])
    assert one.merge(two).counts == {0: 1, 18: 2}
    assert (one.counts, two.counts) == ({0: 1, 18: 1}, {18: 1})


def test_an_empty_histogram_has_no_quantile() -> None:
    assert LatencyHistogram().quantile_us(0.5) is None


def test_quantiles_of_zeros_are_zero() -> None:
    assert LatencyHistogram.of([0, 0, 0, 5]).quantile_us(0.75) == 0.0


@pytest.mark.parametrize("q", [-0.01, 1.01, float("nan")])
def test_a_quantile_outside_0_to_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="0 <= q <= 1"):
        LatencyHistogram.of([1]).quantile_us(q)
    with pytest.raises(ValueError, match="0 <= q <= 1"):
        LatencyHistogram().quantile_us(q)


@pytest.mark.parametrize(
    ("q", "count", "rank"),
    [(0, 10, 1), (0.5, 1, 1), (0.5, 2, 1), (0.5, 3, 2), (0.95, 20, 19), (0.95, 21, 20), (0.55, 100, 55), (1, 10, 10)],
)
def test_nearest_rank(q: float, count: int, rank: int) -> None:
    assert nearest_rank(q, count) == rank


def test_there_is_no_rank_among_no_values() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        nearest_rank(0.5, 0)
