"""What MongoDB holds for whoever asks questions: the measurements of a channel, a user, a session, or some windows.

Every query goes by one of the indexes, or by time, which is the order that the collection itself is kept in. It reads
from the primary, and what a majority has: a flusher lets go of a window once its measurement is that far, so whoever
saw the window closed in Redis finds the measurement here.

Documents come as they are stored, all of a window that there are, with dates without zone (UTC).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from itertools import pairwise
from typing import Any, Final

import bson
import pymongo
from bson.codec_options import CodecOptions
from pymongo import ReadPreference
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern

from streamproc.core.rows import Document, epoch_ms, key_of, naive_date
from streamproc.core.windows import WindowKey
from streamproc.stores.mongo.collection import COLLECTION

# It bounds silence, not answers: what is much comes in batches.
_SILENCE_S: Final = 1.5
_BATCH: Final = 1000
#: Each takes a connection.
_PARTS: Final = 4
_LEAST_PART_MS: Final = 2 * 86_400_000
_AS_STORED: Final[CodecOptions[Any]] = CodecOptions(tz_aware=False)
# What an answer is made of. Means are left out (they come from sums), and what only writers look at.
FIELDS: Final = dict.fromkeys(
    (
        *("timestamp", "metadata", "segments_processed", "error_count", "retry_count"),
        *("sum_extraction_ms", "sum_dubbing_ms", "sum_reinsertion_ms", "total_processing_time_ms"),
        *("total_original_bytes", "total_dubbed_bytes", "min_total_ms", "max_total_ms"),
        *("p50_total_ms", "p95_total_ms", "p99_total_ms", "latency_histogram"),
        *("source_languages", "target_languages", "first_segment_at", "last_segment_at"),
    ),
    1,
) | {"_id": 0}
# What the totals of a session are made of.
_SUMMED: Final = {
    name: 1
    for name in FIELDS
    if name not in ("latency_histogram", "p50_total_ms", "p95_total_ms", "p99_total_ms", "_id")
} | {"_id": 0}


class MeasurementReader:
    """Reads the measurements of one database, of any client of pymongo.

    All of it raises pymongo.errors.PyMongoError, within some two seconds where the server is away.

    Args:
        silence_s: a server that says nothing for so long counts as away.
    """

    def __init__(self, database: AsyncDatabase[Any], silence_s: float = _SILENCE_S) -> None:
        self._silence_s = silence_s
        self._collection = database[COLLECTION].with_options(
            codec_options=_AS_STORED, read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("majority")
        )

    async def of_channel(self, channel_id: str, since_ms: int, until_ms: int) -> list[Document]:
        """Of the channel's windows that start in ``[since_ms, until_ms)``."""
        return await self._find_in_parts({"metadata.channel_id": channel_id}, since_ms, until_ms)

    async def of_user(self, user_id: str, since_ms: int, until_ms: int) -> list[Document]:
        """Of the user's windows that start in ``[since_ms, until_ms)``."""
        return await self._find_in_parts({"metadata.user_id": user_id}, since_ms, until_ms)

    async def of_session(self, session_id: str, since_ms: int, until_ms: int) -> list[Document]:
        """Of the session's windows that start in ``[since_ms, until_ms)``."""
        return await self._find({"metadata.session_id": session_id, **_between(since_ms, until_ms)})

    async def of_sessions(self, session_ids: Collection[str], since_ms: int) -> list[Document]:
        """Of these sessions' windows that start at `since_ms` or later: what their totals are made of."""
        query = {"metadata.session_id": {"$in": list(session_ids)}, "timestamp": {"$gte": naive_date(since_ms)}}
        return await self._find(query, _SUMMED) if session_ids else []

    async def of_start(self, start_ms: int) -> list[Document]:
        """Of all windows that start then."""
        return await self._find(_between(start_ms, start_ms + 1))

    async def of_windows(self, keys: Collection[WindowKey]) -> list[Document]:
        """Of these windows, of which there are few."""
        if not keys:
            return []
        starts = [key.start_ms for key in keys]
        sessions = sorted({key.session_id for key in keys})
        found = await self._find({"metadata.session_id": {"$in": sessions}, **_between(min(starts), max(starts) + 1)})
        return [document for document in found if key_of(document) in keys]

    async def channels(self, since_ms: int) -> set[str]:
        """The channels of windows that start at `since_ms` or later."""
        return set(await self._values("$metadata.channel_id", {"timestamp": {"$gte": naive_date(since_ms)}}))

    async def starts(self, since_ms: int, until_ms: int, *, written_after: int = 0) -> list[int]:
        """When windows start that are stored of ``[since_ms, until_ms)``, under a higher write number; in no order."""
        query = {**_between(since_ms, until_ms), "metadata.write": {"$gt": written_after}}
        return [epoch_ms(date) for date in await self._values("$timestamp", query)]

    async def _values(self, name: str, query: Mapping[str, Any]) -> list[Any]:
        with pymongo.timeout(self._silence_s):
            pipeline: list[dict[str, Any]] = [{"$match": query}, {"$group": {"_id": name}}]
            async with await self._collection.aggregate(pipeline) as cursor:
                return [document["_id"] async for document in cursor]

    async def _find_in_parts(self, query: Mapping[str, Any], since_ms: int, until_ms: int) -> list[Document]:
        """Many days are asked for in parts, at once: the server finds some of them while others are decoded here."""
        finds = (self._find({**query, **_between(*part)}) for part in _parts(since_ms, until_ms))
        return [document for found in await asyncio.gather(*finds) for document in found]

    async def _find(self, query: Mapping[str, Any], fields: Mapping[str, int] = FIELDS) -> list[Document]:
        return [document async for batch in self._batches(query, fields) for document in batch]

    async def _batches(self, query: Mapping[str, Any], fields: Mapping[str, int]) -> AsyncIterator[list[Document]]:
        """Whole batches are decoded at once: one call into C for a thousand documents."""
        cursor = self._collection.find_raw_batches(query, fields, batch_size=_BATCH)
        try:
            while True:
                with pymongo.timeout(self._silence_s):
                    raw = await anext(cursor, None)
                if raw is None:
                    return
                yield bson.decode_all(raw, _AS_STORED)
        finally:
            await cursor.close()


def _parts(since_ms: int, until_ms: int) -> list[tuple[int, int]]:
    """``[since_ms, until_ms)`` in at most `_PARTS` parts, of two days at least."""
    number = max(1, min(_PARTS, (until_ms - since_ms) // _LEAST_PART_MS))
    bounds = [since_ms + (until_ms - since_ms) * part // number for part in range(number + 1)]
    return list(pairwise(bounds))


def _between(since_ms: int, until_ms: int) -> dict[str, Any]:
    return {"timestamp": {"$gte": naive_date(since_ms), "$lt": naive_date(until_ms)}}
