"""The observer: looks where a shard stands and puts it into metrics."""

from __future__ import annotations

import math
from typing import Final

from streamproc.metrics import Metrics
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import Survey, survey

# Looks in vain, a second and more apart, after which what was last seen is shown no longer.
_MISSES: Final = 5


class Observer:
    """Observes one shard."""

    def __init__(self, shard: Shard, metrics: Metrics) -> None:
        self._shard = shard
        self._metrics = metrics
        self._missed = 0
        self.last: Survey | None = None

    async def run_once(self) -> Survey | None:
        """Look once; None where stream or group is missing.

        The gauges keep what was last seen for a few looks in vain. Then they show nothing: of a pod that is cut off
        from Redis, nobody should take old figures for the present.

        Raises:
            redis.exceptions.RedisError: nothing was seen.
        """
        self._missed += 1
        if self._missed > _MISSES:
            self._metrics.forget_shard(self._shard.number)
        seen = await survey(self._shard)
        if seen is not None:
            self._missed = 0
            self._publish(seen)
        self.last = seen
        return seen

    def _publish(self, seen: Survey) -> None:
        metrics, label = self._metrics, str(self._shard.number)
        metrics.lag_entries.labels(label).set(seen.lag_entries)
        metrics.lag_seconds.labels(label).set(seen.lag_ms / 1000)
        metrics.lag_known.labels(label).set(seen.undelivered is not None)
        metrics.pending.labels(label).set(seen.pending)
        oldest_s = 0.0 if seen.oldest_pending_ms is None else (seen.now_ms - seen.oldest_pending_ms) / 1000
        metrics.oldest_pending_seconds.labels(label).set(max(0.0, oldest_s))
        metrics.watermark_delay_seconds.labels(label).set((seen.now_ms - seen.watermark_ms) / 1000)
        metrics.stream_entries.labels(label).set(seen.length)
        metrics.open_windows.labels(label).set(seen.open)
        metrics.due_windows.labels(label).set(seen.due)
        metrics.overdue_seconds.labels(label).set(seen.overdue_ms / 1000)
        metrics.taken_windows.labels(label).set(seen.taken)
        metrics.closed_windows.labels(label).set(seen.closed)
        metrics.dead_letter_entries.labels(label).set(seen.dead)
        metrics.consumers.labels(label).set(seen.consumers)
        for term, entries in seen.ledger.by_name().items():
            metrics.ledger_terms.labels(label, term).set(math.nan if entries is None else entries)
        imbalance = seen.ledger.imbalance()
        metrics.ledger_imbalance.labels(label).set(math.nan if imbalance is None else imbalance)
