"""The questions that the product was made for, asked on what is stored: how much they read, how long, by which index.

They are asked as everybody asks them, by `DubbingMetricsService`. Its client notes what it sends to MongoDB, which
explains that afterwards. Nothing is changed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from streamproc.answers.results import Answer
from streamproc.answers.service import DubbingMetricsService
from streamproc.answers.tables import rows_of
from streamproc.app.checkup.mongodb_facts import stages
from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.stores.mongo.collection import COLLECTION, META_FIELD, TIME_FIELD

# What makes up a query; the rest of a command is about the session that it is sent in.
_QUERY: Final = ("find", "filter", "projection", "sort", "limit", "aggregate", "pipeline", "cursor")
_BY_REDIS: Final = "Redis: the channel's own index of windows"
#: Where something is looked for to ask about: not further back than needed.
_DAYS_BACK: Final = (1, 7, 90)
_NOBODY: Final = {"channel_id": "nobody", "user_id": "nobody", "session_id": "nobody"}


_About = Mapping[str, str]
_QUESTIONS: Final[Mapping[str, Callable[[DubbingMetricsService, _About], Awaitable[Answer]]]] = {
    "recent segments, 5 minutes": lambda service, about: service.get_recent_segments(about["channel_id"], 5),
    "hourly metrics, 24 hours": lambda service, about: service.get_hourly_metrics(about["channel_id"], 24),
    "daily trends, 7 days": lambda service, about: service.get_daily_trends(about["channel_id"], 7),
    "user activity, 30 days": lambda service, about: service.get_user_activity(about["user_id"], 30),
    "session hours, all": lambda service, about: service.get_session_hours(about["session_id"]),
}


class Asked(NamedTuple):
    """One question, and what it took.

    Attributes:
        rows: of the answer.
        read: measurements that MongoDB sent for it.
        by: the index, or what else led there.
        scans: it goes through what is stored of all channels, users and sessions.
        missing: what the answer lacks, and why; '' where it is whole.
    """

    question: str
    rows: int
    read: int
    ms: float
    by: str
    scans: bool
    missing: str


class _Listener(CommandListener):
    """Notes what is asked of the measurements, and how much comes back."""

    def __init__(self) -> None:
        self.queries: list[dict[str, Any]] = []
        self.read = 0

    def started(self, event: CommandStartedEvent) -> None:
        command = event.command
        if COLLECTION in (command.get("find"), command.get("aggregate")):
            self.queries.append({name: command[name] for name in _QUERY if name in command})

    def succeeded(self, event: CommandSucceededEvent) -> None:
        cursor = event.reply.get("cursor", {})
        for batch in (cursor.get("firstBatch", []), cursor.get("nextBatch", [])):
            self.read += _documents_in(batch)

    def failed(self, event: CommandFailedEvent) -> None:
        """Is told by the answer, as missing."""


async def ask_all(settings: Settings) -> tuple[_About, list[Asked]]:
    """Ask every question, about what was stored last. Returns about what, and what each took.

    Raises:
        redis.exceptions.RedisError, pymongo.errors.PyMongoError: a server is away, or refuses.
        LayoutMismatch: the data was made with other settings.
    """
    listener = _Listener()
    connections = Connections(settings, mongodb_listeners=[listener])
    try:
        await connections.check_layout()
        await connections.check_mongodb()
        about = await _newest(connections.database) or _NOBODY
        asked = []
        for question, ask in _QUESTIONS.items():
            # One that has answered nothing yet, and so remembers nothing.
            service = DubbingMetricsService(connections.redis, connections.database, settings)
            answering = partial(ask, service, about)
            asked.append(await _ask(question, answering, listener, connections.database))
        return about, asked
    finally:
        await connections.close()


async def _ask(
    question: str, ask: Callable[[], Awaitable[Answer]], listener: _Listener, database: AsyncDatabase[dict[str, Any]]
) -> Asked:
    listener.queries, listener.read = [], 0
    asked_s = time.perf_counter()
    answer = await ask()
    ms = (time.perf_counter() - asked_s) * 1000
    queries, read = listener.queries, listener.read
    plans = [await database.command({"explain": query, "verbosity": "queryPlanner"}) for query in queries]
    ways = [_way(plan) for plan in plans]
    return Asked(
        question=question,
        rows=len(getattr(answer, rows_of(type(answer))[0])),
        read=read,
        ms=ms,
        by=", ".join(dict.fromkeys(ways)) or _BY_REDIS,
        scans=any(not _by_index(stages(plan)) for plan in plans),
        missing="; ".join(f"{one.layer}: {one.reason}" for one in answer.missing),
    )


def _by_index(found: Sequence[str]) -> bool:
    """Whether a plan of these stages goes to its channel, user or session; by time alone it meets all others."""
    return "IXSCAN" in found and "COLLSCAN" not in found


def _way(plan: Any) -> str:
    names = sorted(set(_index_names(plan)))
    if names:
        return " and ".join(names)
    return "time alone" if "CLUSTERED_IXSCAN" in stages(plan) else "no index"


def _index_names(explained: Any) -> Iterator[str]:
    """Of every winning plan in what EXPLAIN answered."""
    if isinstance(explained, list):
        for one in explained:
            yield from _index_names(one)
    elif isinstance(explained, dict):
        if isinstance(explained.get("indexName"), str):
            yield explained["indexName"]
        for name, one in explained.items():
            if name != "rejectedPlans":
                yield from _index_names(one)


def _documents_in(batch: Any) -> int:
    """How many a batch holds: a list, or, where it is decoded later, encoded documents one after the other."""
    if isinstance(batch, list) and batch and isinstance(batch[0], bytes):
        return sum(_documents_in(one) for one in batch)
    if isinstance(batch, bytes):
        at = count = 0
        while at < len(batch):
            at += int.from_bytes(batch[at : at + 4], "little")
            count += 1
        return count
    return len(batch)


async def _newest(database: AsyncDatabase[dict[str, Any]]) -> _About | None:
    """Channel, user and session of something that was stored of late."""
    for days in _DAYS_BACK:
        since = datetime.now(UTC) - timedelta(days=days)
        found = await database[COLLECTION].find_one({TIME_FIELD: {"$gte": since}}, {META_FIELD: 1})
        if found is not None:
            return {name: found[META_FIELD][name] for name in _NOBODY}
    return None
