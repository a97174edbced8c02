"""The session keeper: brings the product's session documents up to date with the hours that are stored of them.

A flusher notes in Redis which sessions it has stored hours of, before it finishes the flush. The keeper takes these
notes, works the totals out from what MongoDB holds, and lets go of the notes. Four steps, any of which may be repeated:

    1. take       sessions that are behind; whom it does not let go of in time, another keeper takes
    2. read       their documents, and only then their hours: one query each, by indexes
    3. write      what is different, in one bulk write; only where a document is still the one that was read
    4. let go     of those to which nothing was noted since

Step 3 makes it safe that several work at one session: what is written comes from hours that were read after the write
before it. So an older result never replaces a newer one, be the newer one larger, or smaller, since hours were erased.
A flush never waits for any of this, and a failure here is none of the flush.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streamproc.core.rows import Document, highest_of_each
from streamproc.core.sessions import LastError, work_out
from streamproc.metrics import Metrics
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.mongo.sessions import SessionDocument, SessionStore, Update
from streamproc.stores.redis.behind import Behind, BehindSessions

logger = logging.getLogger(__name__)

# A document that others keep writing to at the very same time is left for later.
_ATTEMPTS: Final = 5
_A_DAY: Final = 24
_MOST_HOURS: Final = 30_000


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How many sessions a keeper takes at once, and for how long."""

    max_sessions: int = 500
    visibility_ms: int = 60_000


class SessionKeeper:
    """Keeps the session documents of one shard in step. Any number of them may run at once, in any number of pods."""

    def __init__(
        self,
        behind: BehindSessions,
        sessions: SessionStore,
        measurements: MeasurementReader,
        metrics: Metrics,
        policy: SessionPolicy,
        shard: int = 0,
    ) -> None:
        self._behind = behind
        self._sessions = sessions
        self._measurements = measurements
        self._metrics = metrics
        self._policy = policy
        self._waiting = metrics.sessions_behind.labels(str(shard))

    async def run_once(self) -> int:
        """Bring one batch of sessions up to date. Returns how many were taken.

        Raises:
            redis.exceptions.RedisError, pymongo.errors.PyMongoError: call again; what was not done is still noted.
        """
        behind = await self._behind.take(self._policy.max_sessions, self._policy.visibility_ms)
        self._waiting.set(behind.waiting)
        if not behind.sessions:
            return 0
        try:
            done = await self._bring_up_to_date(behind)
        except Exception:
            self._metrics.session_failures.inc()
            raise
        if done:
            self._waiting.set(behind.waiting - await self._behind.let_go(behind, behind.sessions.keys()))
        return len(behind.sessions)

    async def _bring_up_to_date(self, behind: Behind) -> bool:
        """Steps 2 and 3, again as long as somebody else comes between them. Returns whether that came to an end."""
        for _ in range(_ATTEMPTS):
            documents = await self._sessions.load(behind.sessions)
            wanted = await updates_of(self._measurements, documents, behind.now_ms, behind.sessions)
            updated = await self._sessions.update(wanted)
            self._metrics.sessions_updated.inc(updated.written)
            if updated.refused:
                self._metrics.session_failures.inc(len(updated.refused))
                logger.error(
                    "MongoDB refuses hourly_metrics in %d documents of %s, by a validator of that collection: let it "
                    "allow the field, then run `streamproc sessions migrate`. The first: session %s",
                    *(len(updated.refused), self._sessions.name, updated.refused[0].document.session_id),
                )
            if updated.written + len(updated.refused) == len(wanted):
                return True
        return False


async def updates_of(
    measurements: MeasurementReader,
    documents: Sequence[SessionDocument],
    now_ms: int,
    errors: Mapping[str, LastError | None] | None = None,
) -> list[Update]:
    """Which documents do not hold what their hours come to, and what they are to hold.

    The hours of a session are those of its user: of two people who shared a session's id, neither has a part in what
    is kept of the other.

    Args:
        documents: read before this is called.
        errors: last errors that were noted, by session.

    Raises:
        pymongo.errors.PyMongoError: call again.
    """
    updates = []
    for some in _slices(documents):
        hours = await _hours_of(measurements, some)
        for document in some:
            error = (errors or {}).get(document.session_id)
            mine = hours.get((document.session_id, document.user_id), [])
            metrics = work_out(document.kept, mine, error, now_ms)
            if metrics is not None and metrics is not document.kept:
                updates.append(Update(document, metrics))
    return updates


def _slices(documents: Sequence[SessionDocument]) -> Iterator[Sequence[SessionDocument]]:
    """So that not too many hours are in memory at once: usually one slice. What is not known yet may be a day's."""
    first = hours = 0
    for number, one in enumerate(documents):
        hours += _A_DAY if one.kept is None else one.kept.totals.windows - one.kept.settled.windows
        if hours > _MOST_HOURS:
            yield documents[first : number + 1]
            first, hours = number + 1, 0
    if first < len(documents):
        yield documents[first:]


async def _hours_of(
    measurements: MeasurementReader, documents: Sequence[SessionDocument]
) -> dict[tuple[str, str], list[Document]]:
    """The measurements of sessions, by session and user, one for each window. Of settled hours only some."""
    whole, later = [], {}
    for document in documents:
        if not isinstance(document.session_id, str):
            continue  # by such an id nothing is stored
        if document.kept is None or not document.kept.settled.windows:
            whole.append(document.session_id)
        else:
            later[document.session_id] = document.kept.settled.last_hour_ms
    found = await measurements.of_sessions(whole, 0)
    found += await measurements.of_sessions(later, min(later.values(), default=0))
    hours: dict[tuple[str, str], list[Document]] = {}
    for key, hour in highest_of_each(found).items():
        hours.setdefault((key.session_id, key.user_id), []).append(hour)
    return hours
