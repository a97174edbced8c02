"""Every metric, declared once, on a registry of its own. docs/metrics.md is generated from here.

Counters count what this process did; gauges say where a shard stands and read the same in every pod. Names follow
https://prometheus.io/docs/practices/naming/: base units, `_total` for counters.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from streamproc import __version__
from streamproc.core.commits import Reason
from streamproc.core.ledger import LEDGER_TERMS
from streamproc.core.live import LiveWindows

OUTCOMES: Final = ("counted", "duplicate", "dead_lettered", "erased", "forwarded", "lost")
#: Settings in seconds that limits of alerts go by.
LIMITING_SETTINGS: Final = ("window", "grace", "late_quiet", "claim_idle")
LATENCY_BOUNDS_US: Final = tuple(ms * 1000 for ms in (100, 250, 500, 750, 1000, 1500, 2000, 3000, 5000, 10_000, 30_000))

# A time of creation beside every counter doubles what is scraped, and nothing here reads it.
disable_created_metrics()  # type: ignore[no-untyped-call]

_FAST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 900, 3600, 21_600, 86_400)
_SIZES: Final = (1, 5, 10, 50, 100, 250, 500, 1000)


class CommitOutcome(Protocol):
    """What `Metrics.record_commit` reads of a commit's outcome: how many entries were acknowledged as what."""

    counted: int
    duplicates: int
    erased: int
    forwarded: int
    lost: int

    @property
    def dead_reasons(self) -> list[Reason]: ...


class Metrics:
    """The metrics of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        r = self.registry = registry or CollectorRegistry()

        self.events = Counter(
            "streamproc_events", "Entries acknowledged, by what became of them.", ["outcome"], registry=r
        )
        self.dead_letters = Counter(
            "streamproc_dead_letters", "Dead letters written, by reason.", ["reason"], registry=r
        )
        self.unknown_fields = Counter("streamproc_unknown_fields", "Unknown fields dropped from events.", registry=r)
        self.entries_lost = Counter(
            "streamproc_entries_lost", "Entries found deleted by a stranger before they were counted.", registry=r
        )
        self.commit_seconds = Histogram(
            "streamproc_commit_duration_seconds",
            "Time of a commit, from sending to its answer.",
            registry=r,
            buckets=_FAST_SECONDS,
        )
        self.commit_entries = Histogram(
            "streamproc_commit_entries", "Entries acknowledged by one commit.", registry=r, buckets=_SIZES
        )

        self._of_shards: list[Gauge] = []
        self.lag_entries = self._of_shard("lag_entries", "Entries added and not yet delivered.")
        self.lag_seconds = self._of_shard("lag_seconds", "Age of the first undelivered entry.")
        self.lag_known = self._of_shard(
            "lag_known", "1: lag in entries was counted. 0: beyond the bound of counting, derived from the ledger."
        )
        self.pending = self._of_shard("pending_entries", "Entries delivered and not yet acknowledged.")
        self.oldest_pending_seconds = self._of_shard("oldest_pending_seconds", "Age of the oldest pending entry.")
        self.watermark_delay_seconds = self._of_shard(
            "watermark_delay_seconds", "How far the low watermark is behind Redis' time."
        )
        self.stream_entries = self._of_shard("stream_entries", "Entries in the stream, read ones included.")
        self.open_windows = self._of_shard("open_windows", "Windows still to be flushed.")
        self.due_windows = self._of_shard("due_windows", "Open windows that the low watermark has passed.")
        self.overdue_seconds = self._of_shard("overdue_seconds", "For how long the first of them has been due.")
        self.taken_windows = self._of_shard("taken_windows", "Windows a flusher is at.")
        self.closed_windows = self._of_shard("closed_windows", "Flushed windows whose detail is still kept.")
        self.dead_letter_entries = self._of_shard("dead_letter_entries", "Dead letters kept.")
        self.consumers = self._of_shard("consumers", "Consumers of the group.")
        self.ledger_terms = Gauge("streamproc_ledger_entries", "The ledger's terms.", ["shard", "term"], registry=r)
        self.ledger_imbalance = self._of_shard(
            "ledger_imbalance",
            "Entries added that no term of the ledger accounts for: 0, or something trimmed or deleted entries. "
            "NaN while undelivered entries are beyond the bound of counting.",
        )
        self.redis_memory_used = self._of_shard("redis_memory_used_bytes", "Memory that the shard's Redis uses.")
        self.redis_memory_limit = self._of_shard(
            "redis_memory_limit_bytes", "Memory that the shard's Redis may use (maxmemory); 0 where it has no limit."
        )
        self.replicas = self._of_shard("replicas", "Replicas of the shard's Redis that are online.")
        self.replica_lag_seconds = self._of_shard(
            "replica_lag_seconds",
            "For how long, at least, the replica that is furthest behind has lacked something: what a failover to it "
            "would lose. NaN without replicas.",
        )

        self.windows_flushed = Counter("streamproc_windows_flushed", "Measurements stored.", registry=r)
        self.windows_revised = Counter(
            "streamproc_windows_revised", "Measurements stored that replaced an earlier one.", registry=r
        )
        self.windows_shrunk = Counter(
            "streamproc_windows_shrunk",
            "Windows with fewer segments in Redis than stored: Redis lost data.",
            registry=r,
        )
        self.windows_diverged = Counter(
            "streamproc_windows_diverged",
            "Windows with other segments in Redis than stored: Redis was rolled back.",
            registry=r,
        )
        self.windows_forgotten = Counter(
            "streamproc_windows_forgotten", "Windows whose detail was removed.", registry=r
        )
        self.measurements_swept = Counter(
            "streamproc_measurements_swept", "Superseded measurements removed by the sweep.", registry=r
        )
        self.documents_refused = Counter(
            "streamproc_documents_refused", "Measurements that MongoDB refused to store.", registry=r
        )
        self.flush_failures = Counter("streamproc_flush_failures", "Flushes that failed and are repeated.", registry=r)
        self.flush_seconds = Histogram(
            "streamproc_flush_duration_seconds",
            "Time of one flush of a batch of windows.",
            registry=r,
            buckets=_SLOW_SECONDS,
        )
        self.flush_delay_seconds = Histogram(
            "streamproc_flush_delay_seconds",
            "From a window's end plus grace until it was stored.",
            registry=r,
            buckets=_SLOW_SECONDS,
        )

        self.sessions_behind = Gauge(
            "streamproc_sessions_behind",
            "Sessions of which hours were stored that their documents may not hold yet.",
            ["shard"],
            registry=r,
        )
        self.sessions_updated = Counter(
            "streamproc_sessions_updated", "Session documents brought up to date with their hours.", registry=r
        )
        self.session_failures = Counter(
            "streamproc_session_failures",
            "Updates of session documents that failed and are repeated, or that MongoDB refused.",
            registry=r,
        )

        self.erasures_unfinished = Gauge(
            "streamproc_erasures_unfinished", "Erasures that are asked for and not complete.", registry=r
        )
        self.erased_again = Counter(
            "streamproc_erased_again",
            "Windows, segments, entries, dead letters and measurements of erased users that had come back: Redis was "
            "restored, or a flusher had slept.",
            registry=r,
        )

        self.ready = Gauge("streamproc_ready", "1 while /readyz answers 200.", registry=r)
        self.setting_seconds = Gauge(
            "streamproc_setting_seconds", "Settings that limits of alerts go by.", ["setting"], registry=r
        )
        self.archive_overdue_days = Gauge(
            "streamproc_archive_overdue_days",
            "Days older than 80 days that MongoDB holds and that are not archived, as far as this process can see: "
            "MongoDB forgets after 90. 0 without STREAMPROC_ARCHIVE_URL.",
            registry=r,
        )

        self.dependency_up = Gauge(
            "streamproc_dependency_up", "1 while the dependency answers.", ["dependency"], registry=r
        )
        Info("streamproc_build", "Version of streamproc and Python.", registry=r).info(
            {"version": __version__, "python": platform.python_version()}
        )
        for outcome in OUTCOMES:
            self.events.labels(outcome)
        for reason in Reason:
            self.dead_letters.labels(reason)

    def forget_shard(self, shard: int) -> None:
        """Show nothing of a shard any more: what was seen of it is too old to tell where it stands."""
        label = str(shard)
        shown = [(gauge, (label,)) for gauge in self._of_shards]
        for gauge, labels in [*shown, *((self.ledger_terms, (label, term)) for term in LEDGER_TERMS)]:
            with suppress(KeyError):  # it was not shown
                gauge.remove(*labels)

    def record_commit(self, outcome: CommitOutcome, unknown_fields: int) -> None:
        """Count what a commit acknowledged."""
        dead = outcome.dead_reasons
        numbers = (outcome.counted, outcome.duplicates, len(dead), outcome.erased, outcome.forwarded, outcome.lost)
        for name, number in zip(OUTCOMES, numbers, strict=True):
            if number:
                self.events.labels(name).inc(number)
        for reason in dead:
            self.dead_letters.labels(reason).inc()
        self.entries_lost.inc(outcome.lost)
        self.unknown_fields.inc(unknown_fields)
        if total := sum(numbers):
            self.commit_entries.observe(total)

    def _of_shard(self, name: str, documentation: str) -> Gauge:
        """A gauge that every pod shows alike."""
        gauge = Gauge(f"streamproc_{name}", documentation, ["shard"], registry=self.registry)
        self._of_shards.append(gauge)
        return gauge


class LiveCollector(Collector):
    """Shows the pod's live figures per channel: they are kept as plain numbers and put in form only when scraped."""

    def __init__(self, live: LiveWindows) -> None:
        self._live = live

    def describe(self) -> Iterator[Metric]:
        yield from self._families()

    def collect(self) -> Iterator[Metric]:
        segments, errors, latency = self._families()
        bounds = [f"{us / 1e6:g}" for us in self._live.bounds_us] + ["+Inf"]
        for channel_id, totals in sorted(self._live.totals.items()):
            segments.add_metric([channel_id], totals.segments)
            errors.add_metric([channel_id], totals.errors)
            cumulative = [(bound, float(count)) for bound, count in zip(bounds, totals.cumulative(), strict=True)]
            latency.add_metric([channel_id], cumulative, totals.sum_total_us / 1e6)
        yield from (segments, errors, latency)

    def _families(self) -> tuple[CounterMetricFamily, CounterMetricFamily, HistogramMetricFamily]:
        names = ["channel"]
        return (
            CounterMetricFamily("streamproc_channel_segments", "Segments this pod counted.", labels=names),
            CounterMetricFamily("streamproc_channel_errors", "Segments with an error this pod counted.", labels=names),
            HistogramMetricFamily(
                "streamproc_channel_latency_seconds", "Total time of segments this pod counted.", labels=names
            ),
        )
