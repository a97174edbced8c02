from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.core.histogram import GAMMA, ZERO_BUCKET, LatencyHistogram, nearest_rank

values = st.one_of(
    st.integers(0, 10**10),
    st.integers(0, 100),
    st.integers(0, 34).map(lambda bits: 2**bits),
    st.builds(lambda i, off: 51**i // 49**i + off, st.integers(0, 575), st.integers(0, 1)),
)
lists = st.lists(values, max_size=60)
quantiles = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


def exact_rank(q: float, count: int) -> int:
    """Nearest rank in rational arithmetic."""
    return max(1, math.ceil(Fraction(str(q)) * count))


@given(values.filter(bool))
def test_a_value_lies_in_the_interval_of_its_bucket(value: int) -> None:
    (bucket,) = LatencyHistogram.of([value]).counts
    below, at = (Fraction(51, 49) ** power for power in (bucket - 1, bucket))
    assert below < value <= at


@given(quantiles, st.integers(1, 10**7))
def test_ranks_are_those_of_exact_arithmetic(q: float, count: int) -> None:
    assert nearest_rank(q, count) == exact_rank(q, count)


@settings(max_examples=200)
@given(lists.filter(bool), quantiles)
def test_a_quantile_is_within_two_percent_of_the_exact_one(sample: list[int], q: float) -> None:
    exact = sorted(sample)[exact_rank(q, len(sample)) - 1]
    estimate = LatencyHistogram.of(sample).quantile_us(q)
    assert estimate is not None
    assert abs(estimate - exact) <= 0.02 * exact * (1 + 1e-9)


@given(lists, lists, lists)
def test_merging_is_associative_and_commutative_and_loses_nothing(a: list[int], b: list[int], c: list[int]) -> None:
    x, y, z = map(LatencyHistogram.of, (a, b, c))
    assert x.merge(y).merge(z) == x.merge(y.merge(z)) == z.merge(x).merge(y) == LatencyHistogram.of(a + b + c)


@given(lists)
def test_a_document_reads_back_as_the_histogram(sample: list[int]) -> None:
    histogram = LatencyHistogram.of(sample)
    document = histogram.to_document()
    assert LatencyHistogram.from_document(document) == histogram
    assert [int(bucket) for bucket in document] == sorted(histogram.counts)
    assert sum(document.values()) == len(sample)


@given(lists)
def test_zeros_and_only_zeros_are_in_the_bucket_of_zero(sample: list[int]) -> None:
    assert LatencyHistogram.of(sample).counts.get(ZERO_BUCKET, 0) == sample.count(0)


def test_gamma_is_the_fraction_that_gives_two_percent() -> None:
    assert math.isclose((GAMMA - 1) / (GAMMA + 1), 0.02)
