"""The pod's rolling windows in memory: what is going on now, before any hour has closed.

A pod adds what its commits counted. Two views come of it: totals per channel since the start, which only grow (the
counters and histograms of `/metrics`), and figures per channel of the newest windows (`streamproc status`, the
dashboard). Both cover this pod alone and are gone when it stops; nothing that is stored depends on them.

Both are bounded: at most `max_channels` channels by name, in order of appearance, and everything else under `OTHER`
(a label value is a time series to Prometheus); at most `keep` windows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

from streamproc.core.details import Detail

OTHER = "other"

_total_us = attrgetter("total_us")
_error = attrgetter("error")


class LiveRow(NamedTuple):
    """What this pod has counted of one channel in the windows that start at `start_ms`."""

    start_ms: int
    channel_id: str
    segments: int
    errors: int
    sum_total_us: int
    buckets: tuple[int, ...]


@dataclass(slots=True)
class Figures:
    """Segments of one channel, counted.

    Attributes:
        buckets: segments by total time; position i counts those above bound i - 1 and up to bound i, the last those
            above every bound.
    """

    segments: int
    errors: int
    sum_total_us: int
    buckets: list[int]

    @classmethod
    def none(cls, bounds: int) -> Figures:
        """Nothing counted yet, by so many bounds."""
        return cls(0, 0, 0, [0] * (bounds + 1))

    def cumulative(self) -> list[int]:
        """Segments up to each bound, the last being all of them (``le="+Inf"``): what Prometheus expects."""
        return list(accumulate(self.buckets))

    def add(self, segments: int, errors: int, sum_total_us: int, buckets: Sequence[int]) -> None:
        """Add what was counted elsewhere, by the same bounds."""
        self.segments += segments
        self.errors += errors
        self.sum_total_us += sum_total_us
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, buckets, strict=True)]


class LiveWindows:
    """The live figures of one pod.

    Args:
        bounds_us: upper bounds of the latency buckets, ascending, inclusive.
        max_channels: how many channels are kept apart.
        keep: how many windows, counted back from the newest, are kept.
    """

    def __init__(self, bounds_us: Sequence[int], *, max_channels: int = 500, keep: int = 2) -> None:
        if list(bounds_us) != sorted(set(bounds_us)):
            raise ValueError(f"bounds_us must be ascending and distinct, got {list(bounds_us)}")
        self.bounds_us = tuple(bounds_us)
        self._names: dict[str, None] = {}
        self._windows: dict[int, dict[str, Figures]] = {}
        #: Of windows that are not kept any more.
        self._past: dict[str, Figures] = {}
        self._max_channels = max_channels
        self._keep = keep

    def add(self, start_ms: int, channel_id: str, details: Sequence[Detail]) -> None:
        """Count `details`, which are of the window starting at `start_ms` on `channel_id`."""
        figures = self._figures(self._window(start_ms), self._bounded(channel_id))
        values = list(map(_total_us, details))
        figures.segments += len(values)
        figures.errors += sum(map(bool, map(_error, details)))
        figures.sum_total_us += sum(values)
        bounds, buckets = self.bounds_us, figures.buckets
        for value in values:
            buckets[bisect_left(bounds, value)] += 1

    @property
    def totals(self) -> dict[str, Figures]:
        """Everything counted of each channel since the start; never decreases. A snapshot."""
        totals = {name: Figures.none(len(self.bounds_us)) for name in self._names}
        for channels in (self._past, *self._windows.values()):
            for name, one in channels.items():
                totals[name].add(one.segments, one.errors, one.sum_total_us, one.buckets)
        return totals

    @property
    def errors(self) -> int:
        """Segments with an error since the start, over all channels."""
        return sum(one.errors for channels in (self._past, *self._windows.values()) for one in channels.values())

    def rows(self, since_ms: int = 0) -> list[LiveRow]:
        """A snapshot of the kept windows that start at `since_ms` or later, by start, then channel."""
        return [
            LiveRow(start_ms, name, one.segments, one.errors, one.sum_total_us, tuple(one.buckets))
            for start_ms, channels in sorted(self._windows.items())
            if start_ms >= since_ms
            for name, one in sorted(channels.items())
        ]

    def _bounded(self, channel_id: str) -> str:
        """The name to count `channel_id` under."""
        if channel_id in self._names:
            return channel_id
        name = channel_id if len(self._names) < self._max_channels else OTHER
        self._names[name] = None
        return name

    def _figures(self, channels: dict[str, Figures], name: str) -> Figures:
        found = channels.get(name)
        if found is None:
            found = channels[name] = Figures.none(len(self.bounds_us))
        return found

    def _window(self, start_ms: int) -> dict[str, Figures]:
        """The figures of one window by channel. Those of a window too old to be kept are of the past at once."""
        found = self._windows.get(start_ms)
        if found is not None:
            return found
        if len(self._windows) == self._keep:
            oldest_ms = min(self._windows)
            if start_ms < oldest_ms:
                return self._past
            self._forget(oldest_ms)
        return self._windows.setdefault(start_ms, {})

    def _forget(self, start_ms: int) -> None:
        """Let go of a window, but for what it adds to the totals."""
        for name, one in self._windows.pop(start_ms).items():
            self._figures(self._past, name).add(one.segments, one.errors, one.sum_total_us, one.buckets)


def quantile_us(q: float, bounds_us: Sequence[int], buckets: Sequence[int]) -> float | None:
    """The `q` quantile from bucket counts, in microseconds; None where nothing is counted.

    Approximate: within the bucket where the quantile lies, values are taken to be spread evenly, so it is off by at
    most the width of that bucket. Above the last bound nothing is known, and that bound is returned. (The same rule as
    Prometheus' `histogram_quantile`.) What is stored of a window has exact percentiles.
    """
    total = sum(buckets)
    if not total:
        return None
    rank, below, lower_us = q * total, 0, 0
    for upper_us, count in zip(bounds_us, buckets, strict=False):
        if count and below + count >= rank:
            return lower_us + (upper_us - lower_us) * max(0.0, rank - below) / count
        below += count
        lower_us = upper_us
    return float(bounds_us[-1])
