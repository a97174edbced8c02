"""The janitor: forgets what is stored and can change no more, trims what has been read, sweeps what is superseded.

Every task is safe to repeat and to run in several pods at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.core.revisions import highest
from streamproc.core.windows import Windowing
from streamproc.metrics import Metrics
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.windows import WindowStore


@dataclass(frozen=True, slots=True)
class KeepPolicy:
    """How long things are kept."""

    stream_retention_ms: int = 3_600_000
    dead_letter_retention_ms: int = 604_800_000
    measurement_retention_ms: int = 7_776_000_000
    consumer_idle_ms: int = 3_600_000
    sweep_ms: int = 3_600_000
    max_windows: int = 200


class Janitor:
    """Keeps house for one shard."""

    def __init__(
        self,
        stream: EntryStream,
        windows: WindowStore,
        measurements: MeasurementStore,
        windowing: Windowing,
        metrics: Metrics,
        policy: KeepPolicy,
    ) -> None:
        self._stream = stream
        self._windows = windows
        self._measurements = measurements
        self._windowing = windowing
        self._metrics = metrics
        self._policy = policy

    async def run_once(self) -> None:
        """Do everything that is due.

        Raises:
            redis.exceptions.RedisError, pymongo.errors.PyMongoError: the rest waits for the next call.
        """
        await self.trim()
        await self.retire()
        while await self.forget():
            pass
        await self.sweep()

    async def forget(self) -> int:
        """Forget windows past their horizon whose measurement MongoDB holds; the others are flushed again.

        Returns how many of one batch were forgotten.
        """
        keys = await self._windows.forgettable(self._policy.max_windows)
        if not keys:
            return 0
        found = await self._measurements.look_up(keys)
        revisions = {}
        for key in keys:
            best = highest(found.get(key, []))
            revisions[key] = best.revision if best else 0
        verdicts = await self._windows.forget(revisions, await self._windows.now_ms())
        forgotten = sum(verdict == "forgotten" for verdict in verdicts.values())
        self._metrics.windows_forgotten.inc(forgotten)
        return forgotten

    async def trim(self) -> None:
        """Trim read entries past retention, and old dead letters."""
        await self._stream.trim(self._policy.stream_retention_ms, self._policy.dead_letter_retention_ms)

    async def retire(self) -> None:
        """Remove consumers that have gone."""
        await self._stream.retire(self._policy.consumer_idle_ms)

    async def sweep(self) -> int:
        """Once per sweep time among all pods: delete superseded measurements that a flusher left behind.

        Readers never see them; the sweep keeps the collection at one measurement per window.
        """
        if not await self._windows.take_turn("swept", self._policy.sweep_ms):
            return 0
        now_ms = await self._windows.now_ms()
        since_ms = now_ms - self._policy.measurement_retention_ms
        swept = await self._measurements.sweep(since_ms, now_ms + self._windowing.future_ms)
        self._metrics.measurements_swept.inc(swept)
        return swept
