"""A look at all session documents: which are behind their hours, which are said to be active and have fallen silent.

It changes nothing: whether a session has ended is for those to say who own its document.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from streamproc.roles.session_keeper import updates_of
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.mongo.sessions import SessionDocument, SessionStore, Update


@dataclass(frozen=True, slots=True)
class Stale:
    """A session document that is not as it should be.

    Attributes:
        session_id: names it.
        behind: it does not hold what its hours come to.
        silent: it is said to be active, and nothing has come for long.
        held, stored: how many segments the document holds, and how many its hours.
        last_segment_ms: of its hours; None where there are none.
    """

    session_id: str
    behind: bool
    silent: bool
    held: int
    stored: int
    last_segment_ms: int | None


@dataclass(slots=True)
class Found:
    """What a look at all session documents found."""

    documents: int = 0
    behind: int = 0
    silent: int = 0
    stale: list[Stale] = field(default_factory=list)


async def survey(
    sessions: SessionStore, measurements: MeasurementReader, now_ms: int, silent_ms: int, *, batch: int, most: int
) -> AsyncIterator[Found]:
    """Look at all documents. Says after each batch what was found until then.

    Args:
        silent_ms: an active session of which nothing has come for so long is silent.
        most: how many stale ones to tell of; the others are counted.

    Raises:
        pymongo.errors.PyMongoError: start again.
    """
    found, after = Found(), None
    while page := await sessions.page(after, batch):
        updates = {one.document.id: one for one in await updates_of(measurements, page, now_ms)}
        for document in page:
            one = _judge(document, updates.get(document.id), now_ms - silent_ms)
            found.documents += 1
            found.behind += one.behind
            found.silent += one.silent
            if (one.behind or one.silent) and len(found.stale) < most:
                found.stale.append(one)
        after = page[-1].id
        yield found


def _judge(document: SessionDocument, update: Update | None, silent_since_ms: int) -> Stale:
    metrics = document.kept if update is None else update.metrics
    stored = metrics.totals.aggregate if metrics else None
    last_segment_ms = stored.last_ms if stored else None
    signs = [sign for sign in (last_segment_ms, document.last_activity_ms) if sign is not None]
    return Stale(
        session_id=str(document.session_id),
        behind=update is not None,
        silent=document.is_active and max(signs, default=0) < silent_since_ms,
        held=document.kept.totals.aggregate.segments if document.kept else 0,
        stored=stored.segments if stored else 0,
        last_segment_ms=last_segment_ms,
    )
