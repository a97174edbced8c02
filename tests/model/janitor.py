"""The janitor: forgets what is stored and can change no more, trims, retires consumers, sweeps what is superseded."""

from __future__ import annotations

from streamproc.core.revisions import highest

from .mongodb import MongoDB
from .settings import SWEEP_MS
from .shard import Shard
from .steps import Role


class Janitor:
    def __init__(self, shard: Shard, mongodb: MongoDB, retention_ms: int) -> None:
        self._shard = shard
        self._mongodb = mongodb
        self._retention_ms = retention_ms

    def run_once(self) -> Role:
        yield self._shard.trim, self._retention_ms
        yield (self._shard.retire,)
        while (yield from self._forget()):
            pass
        yield from self._sweep()

    def _forget(self) -> Role:
        """Returns how many windows of a page were forgotten."""
        windows = yield (self._shard.forgettable,)
        if not windows:
            return 0
        known = yield self._mongodb.look_up, windows
        best = {window: highest(known[window]) for window in windows}
        stored = {window: one.revision if one else 0 for window, one in best.items()}
        forgotten: int = yield self._shard.forget, stored
        return forgotten

    def _sweep(self) -> Role:
        """What a flusher left behind that slept past its time, and died right after inserting."""
        if (yield self._shard.take_turn, "swept", SWEEP_MS):
            for document in (yield (self._mongodb.superseded,)):
                yield self._mongodb.delete, document
