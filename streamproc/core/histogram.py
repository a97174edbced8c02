"""A mergeable latency histogram: percentiles over any number of hours, each within 2 %.

Percentiles of percentiles are wrong; counts per bucket add up. Buckets grow geometrically (the idea of
DDSketch, Masson, Rim and Lee, VLDB 2019): with ``gamma = 1.02 / 0.98``, bucket ``i >= 0`` holds the values in
``(gamma**(i - 1), gamma**i]`` microseconds, and is represented by ``2 * gamma**i / (gamma + 1)``, which lies within
``(gamma - 1) / (gamma + 1)`` = 2 % of every value in it. Zero has a bucket of its own, `ZERO_BUCKET`.

Values are whole microseconds and gamma is the fraction 51/49, so the upper bound of a bucket can be the integer
``floor(gamma**i)``, computed exactly: which bucket a value is in never depends on how a machine rounds a logarithm,
and finding it is one bisection in C (about 0.16 us a value).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import TypeVar

GAMMA = 51 / 49
ZERO_BUCKET = -1

_BUCKETS = 1000  # the last bound is some 7,000 years
_BOUNDS_US = [0, *(51**i // 49**i for i in range(_BUCKETS))]  # bucket i ends at position i + 1
_Key = TypeVar("_Key")


def nearest_rank(q: float, count: int) -> int:
    """The rank, from 1, of quantile `q` among `count` values: the smallest rank that covers a share `q` of them.

    The product is rounded to six decimals first: 0.55 * 100 is 55.00000000000001 in floating point, not the 56th.

    Raises:
        ValueError: `q` lies outside [0, 1], or there are no values.
    """
    if not 0 <= q <= 1 or count < 1:
        raise ValueError(f"a quantile needs 0 <= q <= 1 and at least one value, got q={q} of {count}")
    return max(1, math.ceil(round(q * count, 6)))


def add_counts(a: Mapping[_Key, int], b: Mapping[_Key, int]) -> dict[_Key, int]:
    """Both tallies in one, in a new dict."""
    total = dict(a)
    for key, count in b.items():
        total[key] = total.get(key, 0) + count
    return total


@dataclass(frozen=True, slots=True)
class LatencyHistogram:
    """How many values fell into each bucket: bucket index -> count. Treat as immutable."""

    counts: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values_us: Iterable[int]) -> LatencyHistogram:
        """The histogram of `values_us`, whole microseconds >= 0."""
        positions = Counter(map(bisect_left, repeat(_BOUNDS_US), values_us))
        return cls({position - 1: count for position, count in positions.items()})

    @classmethod
    def from_document(cls, document: Mapping[str, int]) -> LatencyHistogram:
        """Undo `to_document`."""
        return cls({int(bucket): int(count) for bucket, count in document.items()})

    def to_document(self) -> dict[str, int]:
        """Bucket index as a string (MongoDB's field names are strings) -> count, in the order of the buckets."""
        return {str(bucket): count for bucket, count in sorted(self.counts.items())}

    def merge(self, other: LatencyHistogram) -> LatencyHistogram:
        """The histogram of the values of both. Associative, commutative, loses nothing."""
        return LatencyHistogram(add_counts(self.counts, other.counts))

    def quantile_us(self, q: float) -> float | None:
        """The `q` quantile (nearest rank) within 2 %, in microseconds; None if the histogram is empty.

        Raises:
            ValueError: `q` lies outside [0, 1].
        """
        count = sum(self.counts.values())
        rank = nearest_rank(q, max(1, count))
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return _representative_us(bucket)
        return None


def _representative_us(bucket: int) -> float:
    return 0.0 if bucket == ZERO_BUCKET else 2 * GAMMA**bucket / (GAMMA + 1)
