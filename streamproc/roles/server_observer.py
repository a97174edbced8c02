"""The server observer: looks how the Redis is that a shard is on, and puts it into metrics."""

from __future__ import annotations

import math

from streamproc.core.replication import ReplicaLag
from streamproc.metrics import Metrics
from streamproc.stores.redis.server import server_state
from streamproc.stores.redis.shard import Shard


class ServerObserver:
    """Observes the server of one shard. Shards on one server show the same."""

    def __init__(self, shard: Shard, metrics: Metrics) -> None:
        self._shard = shard
        self._metrics = metrics
        self._lag = ReplicaLag()

    async def run_once(self) -> None:
        """Look once.

        Raises:
            redis.exceptions.RedisError: nothing was seen.
        """
        state = await server_state(self._shard)
        metrics, label = self._metrics, str(self._shard.number)
        metrics.redis_memory_used.labels(label).set(state.used_bytes)
        metrics.redis_memory_limit.labels(label).set(state.limit_bytes)
        metrics.replicas.labels(label).set(len(state.replicas))
        lag_ms = self._lag.observe(state.now_ms, state.written, state.replicas)
        metrics.replica_lag_seconds.labels(label).set(math.nan if lag_ms is None else lag_ms / 1000)
