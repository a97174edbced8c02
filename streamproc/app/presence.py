"""What a pod says of itself, once a second: how it is, what it counted and stored, and its live figures."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

from streamproc import __version__
from streamproc.app.pod import Pod
from streamproc.core.live import LiveRow
from streamproc.stores.redis.presence import LiveSum, PodReport

# What a pod says is written every second, and goes into Redis' append-only file: 50 channels are about 8 kB.
CHANNELS: Final = 50
TROUBLES: Final = 5
TROUBLE_CHARACTERS: Final = 300


def report_of(pod: Pod) -> PodReport:
    """How a pod is. No user id, and bounded whatever happens."""
    metrics, live = pod.metrics, pod.live
    rows = live.rows()
    last = max((roles.flusher.last for roles in pod.shards if roles.flusher.last), default=None)
    return PodReport(
        version=__version__,
        started_at_ms=pod.started_at_ms,
        troubles=[trouble[:TROUBLE_CHARACTERS] for trouble in pod.troubles[:TROUBLES]],
        counted=_count(metrics.events.labels("counted")),
        errors=live.errors,
        duplicates=_count(metrics.events.labels("duplicate")),
        dead_lettered=_count(metrics.events.labels("dead_lettered")),
        flushed=_count(metrics.windows_flushed),
        shrunk=_count(metrics.windows_shrunk),
        diverged=_count(metrics.windows_diverged),
        refused=_count(metrics.documents_refused),
        last_flush_ms=last.at_ms if last else None,
        last_flush_windows=last.windows if last else 0,
        windows=_sums(rows),
        bounds_us=list(live.bounds_us),
        channels=_busiest(rows),
    )


def _count(counter: Counter) -> int:
    return sum(int(sample.value) for family in counter.collect() for sample in family.samples)


def _sums(rows: list[LiveRow]) -> list[LiveSum]:
    """All of each window, newest first."""
    starts_ms = sorted({row.start_ms for row in rows}, reverse=True)
    return [_sum(start_ms, [row for row in rows if row.start_ms == start_ms]) for start_ms in starts_ms]


def _sum(start_ms: int, rows: list[LiveRow]) -> LiveSum:
    return LiveSum(start_ms, sum(row.segments for row in rows), sum(row.errors for row in rows), len(rows))


def _busiest(rows: list[LiveRow]) -> list[LiveRow]:
    """The rows of the channels with the most segments in all windows together."""
    segments: dict[str, int] = {}
    for row in rows:
        segments[row.channel_id] = segments.get(row.channel_id, 0) + row.segments
    busiest = set(sorted(segments, key=lambda channel_id: (-segments[channel_id], channel_id))[:CHANNELS])
    return [row for row in rows if row.channel_id in busiest]
