"""The pod's rolling windows in memory: what is going on now, before any hour has closed.

A pod adds what its commits counted. Two views come of it: totals per channel since the start, which only grow (the
counters and histograms of `/metrics`), and figures per channel of the newest windows (the dashboard). Both cover this
pod alone and are gone when it stops; nothing that is stored depends on them.

Both are bounded: at most `max_channels` channels by name, in order of appearance, and everything else under `OTHER`
(a label value is a time series to Prometheus); at most `keep` windows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Figures:
    segments: int = 0
    errors: int = 0
    sum_total_us: int = 0

    def add(self, segments: int, errors: int, sum_total_us: int) -> None:
        self.segments += segments
        self.errors += errors
        self.sum_total_us += sum_total_us


@dataclass(slots=True)
class ChannelTotals(_Figures):
    """Everything a pod has counted of one channel since it started; never decreases.

    Attributes:
        buckets: segments by total time; position i counts those above bound i - 1 and up to bound i, the last those
            above every bound.
    """

    buckets: list[int] = field(default_factory=list)

    def cumulative(self) -> list[int]:
        """Segments up to each bound, the last being all of them (``le="+Inf"``): what Prometheus expects."""
        return list(accumulate(self.buckets))


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
        self.totals: dict[str, ChannelTotals] = {}
        self._windows: dict[int, dict[str, _Figures]] = {}
        self._max_channels = max_channels
        self._keep = keep

    def add(self, start_ms: int, channel_id: str, details: Sequence[Detail]) -> None:
        """Count `details`, which are of the window starting at `start_ms` on `channel_id`."""
        channel_id = self._bounded(channel_id)
        values = list(map(_total_us, details))
        figures = len(values), sum(map(bool, map(_error, details))), sum(values)
        totals = self.totals[channel_id]
        totals.add(*figures)
        bounds, buckets = self.bounds_us, totals.buckets
        for value in values:
            buckets[bisect_left(bounds, value)] += 1
        self._window(start_ms).setdefault(channel_id, _Figures()).add(*figures)

    def rows(self, since_ms: int = 0) -> list[LiveRow]:
        """A snapshot of the kept windows that start at `since_ms` or later, by start, then channel."""
        return [
            LiveRow(start_ms, channel_id, figures.segments, figures.errors, figures.sum_total_us)
            for start_ms, channels in sorted(self._windows.items())
            if start_ms >= since_ms
            for channel_id, figures in sorted(channels.items())
        ]

    def _bounded(self, channel_id: str) -> str:
        """The name to count `channel_id` under; its totals exist afterwards."""
        if channel_id in self.totals:
            return channel_id
        name = channel_id if len(self.totals) < self._max_channels else OTHER
        self.totals.setdefault(name, ChannelTotals(buckets=[0] * (len(self.bounds_us) + 1)))
        return name

    def _window(self, start_ms: int) -> dict[str, _Figures]:
        """The figures of one window. Those of a window too old to be kept are gone as soon as they are written."""
        channels = self._windows.setdefault(start_ms, {})
        if len(self._windows) > self._keep:
            del self._windows[min(self._windows)]
        return channels
