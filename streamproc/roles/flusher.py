"""The flusher: stores closed windows in MongoDB, exactly one measurement each.

MongoDB cannot upsert into a time-series collection, so a flush is five steps, of which any prefix may be repeated:

    1. look up    which revisions of these windows are stored
    2. fold       each window's segments into its document; its revision is their number
    3. insert     those that supersede what is stored
    4. delete     what is superseded, once its successor is known to be stored
    5. finish     look at each window in Redis once more: closed, or open again because it grew meanwhile

Whoever dies between two steps leaves its windows in `taken`, whence they return to `open` when their time is up.
Where session documents are kept, their sessions are noted before step 5: `session_keeper`.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from streamproc.core.details import Detail
from streamproc.core.fold import Measurement, fold
from streamproc.core.revisions import Decision, Stored, decide, write_number
from streamproc.core.sessions import LastError, last_error_of
from streamproc.core.windows import Windowing, WindowKey
from streamproc.metrics import Metrics
from streamproc.stores.mongo.insertion import Refused
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.redis.behind import BehindSessions
from streamproc.stores.redis.windows import Taken, WindowStore

logger = logging.getLogger(__name__)

# The fold of a window of 240 segments takes about 0.3 ms: between slices the event loop turns.
_SLICE = 20


@dataclass(frozen=True, slots=True)
class FlushPolicy:
    """How many windows a flusher takes at once, and for how long."""

    max_windows: int = 1000
    visibility_ms: int = 60_000


class LastFlush(NamedTuple):
    """When a batch of windows was last flushed, by Redis' time, and how many they were."""

    at_ms: int
    windows: int


@dataclass(slots=True)
class _Flush:
    """What one flush knows of its windows."""

    taken: Taken
    measurements: dict[WindowKey, Measurement] = field(default_factory=dict)
    inserted: dict[WindowKey, Stored] = field(default_factory=dict)
    revised: set[WindowKey] = field(default_factory=set)
    refused: set[WindowKey] = field(default_factory=set)
    last_errors: dict[WindowKey, LastError] = field(default_factory=dict)


class Flusher:
    """Flushes the due windows of one shard. Any number of them may run at once, in any number of pods.

    Args:
        behind: where to note whose hours were stored; None where no session documents are kept.
    """

    def __init__(
        self,
        windows: WindowStore,
        measurements: MeasurementStore,
        windowing: Windowing,
        metrics: Metrics,
        policy: FlushPolicy,
        behind: BehindSessions | None = None,
    ) -> None:
        self._behind = behind
        self._windows = windows
        self._store = measurements
        self._windowing = windowing
        self._metrics = metrics
        self._policy = policy
        self.last: LastFlush | None = None

    async def run_once(self) -> int:
        """Flush one batch of due windows. Returns how many were taken.

        Raises:
            redis.exceptions.RedisError, pymongo.errors.PyMongoError: call again; what was done is found done.
        """
        taken = await self._windows.take_due(self._policy.max_windows, self._policy.visibility_ms)
        if taken is None or not taken.keys:
            return 0
        started_s = time.monotonic()
        flush = _Flush(taken)
        try:
            # In this order: should Redis fail over in between, then what is known is older than what is folded.
            stored = await self._store.look_up(taken.keys)
            await self._fold(flush)
            await self._store_measurements(flush, stored)
        except Exception:
            # Not for us to judge here. But these windows need not wait until their time is up.
            self._metrics.flush_failures.inc()
            await self._windows.give_back(taken)
            raise
        await self._finish(flush)
        elapsed_s = time.monotonic() - started_s
        self._record(flush, elapsed_s)
        return len(taken.keys)

    async def _fold(self, flush: _Flush) -> None:
        """Step 2. A window without segments was finished or erased by somebody else: it gets no measurement."""
        for keys in _slices(flush.taken.keys):
            for key, segments in zip(keys, await self._fetch(flush, keys), strict=True):
                if segments:
                    measurement = flush.measurements[key] = fold(key, segments)
                    if self._behind and measurement.aggregate.errors and (error := last_error_of(segments.values())):
                        flush.last_errors[key] = error

    async def _fetch(self, flush: _Flush, keys: list[WindowKey]) -> list[dict[str, Detail]]:
        """The segments of windows. One that cannot be read is set aside like one that MongoDB refuses."""
        try:
            return await self._windows.fetch(keys)
        except ValueError as error:
            if len(keys) == 1:
                self._set_aside(flush, keys[0], error)
                return [{}]
        return [segments for key in keys for segments in await self._fetch(flush, [key])]

    async def _store_measurements(self, flush: _Flush, stored: Mapping[WindowKey, list[Stored]]) -> None:
        """Steps 3 and 4."""
        decisions: dict[WindowKey, Decision] = {}
        documents = []
        for key, measurement in flush.measurements.items():
            known = stored.get(key, [])
            decision = decisions[key] = decide(measurement.revision, measurement.digest, known)
            if decision.insert:
                write = write_number(flush.taken.now_ms, secrets.randbits(32), known)
                flush.inserted[key] = Stored(key, measurement.revision, write, measurement.digest)
                documents.append(measurement.document(write))
                if known:
                    flush.revised.add(key)
        self._report(decisions)
        for refused in await self._store.insert(documents):
            self._refuse(flush, refused)
        await self._store.delete(
            old for key, decision in decisions.items() if key not in flush.refused for old in decision.obsolete
        )

    async def _finish(self, flush: _Flush) -> None:
        """Step 5. A refused window stays taken: it comes back when its time is up, and holds up nothing else."""
        revisions = {
            key: flush.measurements[key].revision if key in flush.measurements else 0
            for key in flush.taken.keys
            if key not in flush.refused
        }
        if not revisions:
            return
        await self._note_sessions(flush, flush.measurements.keys() - flush.refused)
        verdicts = await self._windows.finish(revisions, flush.taken)
        erased = [
            flush.inserted[key] for key, verdict in verdicts.items() if verdict == "erased" and key in flush.inserted
        ]
        await self._store.delete(erased)
        await self._note_sessions(flush, {one.key for one in erased})

    async def _note_sessions(self, flush: _Flush, keys: Set[WindowKey]) -> None:
        """Note that these windows' sessions are behind: also where nothing was inserted, since it may have been by one
        who died before it could note that.
        """
        if self._behind is None or not keys:
            return
        errors: dict[str, LastError | None] = {}
        for key in keys:
            known = [one for one in (errors.get(key.session_id), flush.last_errors.get(key)) if one]
            errors[key.session_id] = max(known, default=None)
        await self._behind.note(errors)

    def _set_aside(self, flush: _Flush, key: WindowKey, error: ValueError) -> None:
        flush.refused.add(key)
        self._metrics.flush_failures.inc()
        logger.error(
            "window %s cannot be read, and waits: a newer streamproc, or a stranger, wrote some of its segments (%s). "
            "Run the newest version everywhere",
            self._shown(key),
            error,
        )

    def _refuse(self, flush: _Flush, refused: Refused) -> None:
        flush.refused.add(refused.key)
        del flush.inserted[refused.key]
        self._metrics.documents_refused.inc()
        reason = refused.reason.replace(refused.key.user_id, "(the user)")
        logger.error(
            "MongoDB refuses the measurement of window %s, which is tried again and again: %s",
            self._shown(refused.key),
            reason,
        )

    def _report(self, decisions: Mapping[WindowKey, Decision]) -> None:
        """Say so, once a flush, where Redis and MongoDB disagree in a way that only lost data explains."""
        shrunk = [key for key, decision in decisions.items() if decision.shrunk]
        diverged = [key for key, decision in decisions.items() if decision.diverged]
        self._metrics.windows_shrunk.inc(len(shrunk))
        self._metrics.windows_diverged.inc(len(diverged))
        if shrunk:
            logger.error(
                "%d windows have fewer segments in Redis than are stored: Redis lost data; what is stored is kept. "
                "`streamproc audit` lists them. The first: %s",
                len(shrunk),
                self._shown(shrunk[0]),
            )
        if diverged:
            logger.error(
                "%d windows have other segments in Redis than were stored: Redis was rolled back and filled again; "
                "what is stored is replaced. `streamproc audit` lists what is wrong. The first: %s",
                len(diverged),
                self._shown(diverged[0]),
            )

    def _shown(self, key: WindowKey) -> str:
        """A window for the log: its hour, channel and session; the user's id is nobody's business there."""
        return f"{self._windowing.hour_name(key.start_ms)} of channel {key.channel_id}, session {key.session_id}"

    def _record(self, flush: _Flush, elapsed_s: float) -> None:
        metrics = self._metrics
        metrics.flush_seconds.observe(elapsed_s)
        stored_at_ms = flush.taken.now_ms + elapsed_s * 1000
        self.last = LastFlush(round(stored_at_ms), len(flush.taken.keys) - len(flush.refused))
        revised = len(flush.revised & flush.inserted.keys())
        metrics.windows_revised.inc(revised)
        logger.debug(
            "flushed %d windows in %.2f s: %d stored, %d of them again, %d set aside",
            *(len(flush.taken.keys), elapsed_s, len(flush.inserted), revised, len(flush.refused)),
        )
        for key in flush.inserted:
            metrics.windows_flushed.inc()
            due_at_ms = key.start_ms + self._windowing.length_ms + self._windowing.grace_ms
            metrics.flush_delay_seconds.observe(max(0.0, stored_at_ms - due_at_ms) / 1000)


def _slices(keys: list[WindowKey]) -> Iterator[list[WindowKey]]:
    for first in range(0, len(keys), _SLICE):
        yield keys[first : first + _SLICE]
