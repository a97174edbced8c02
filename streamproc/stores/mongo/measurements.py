"""Measurements in the time-series collection: look up, insert, delete what is superseded.

MongoDB cannot upsert into a time-series collection, and nothing in it is unique. So one window may be stored several
times, and whoever reads takes the highest (`revision`, `write`) of its key; the others are deleted, by metaField
alone. Such a delete takes whole buckets, and a bucket holds one `metadata` value, hence nothing else.
https://www.mongodb.com/docs/manual/core/timeseries/timeseries-limitations/

Every operation may be repeated, whatever became of the first attempt. Trouble with the server is raised by all of
them as `pymongo.errors.PyMongoError`: wait, then repeat.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, TypeVar

from pymongo import DeleteMany
from pymongo.asynchronous.database import AsyncDatabase

from streamproc.core.revisions import Stored
from streamproc.core.windows import WindowKey
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.mongo.insertion import Document, Refused, insert_all

_T = TypeVar("_T")

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DAY_MS = 86_400_000
_BATCH = 1000


def key_of(metadata: Mapping[str, Any]) -> WindowKey:
    """The window that a measurement with this `metadata` is of.

    Raises:
        KeyError, TypeError: `metadata` names no window, or its `hour` has no zone (connect with `connect`).
    """
    start_ms = (metadata["hour"] - _EPOCH) // _MILLISECOND
    return WindowKey(start_ms, metadata["channel_id"], metadata["session_id"], metadata["user_id"])


class MeasurementStore:
    """The measurements of one database, of a client made by `connect` (which decides when a write is stored)."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._collection = database[COLLECTION]

    async def look_up(self, keys: Iterable[WindowKey]) -> dict[WindowKey, list[Stored]]:
        """Everything stored of `keys`: a list for each key that was asked for, empty where nothing is stored."""
        fields = {"_id": 0, "metadata": 1, "segments_digest": 1}
        found = await self._find(keys, fields)
        return {key: [stored_of(document) for document in documents] for key, documents in found.items()}

    async def documents(self, keys: Iterable[WindowKey]) -> dict[WindowKey, list[Document]]:
        """As `look_up`, but whole documents (without `_id`)."""
        return await self._find(keys, {"_id": 0})

    async def insert(self, documents: Iterable[Document]) -> list[Refused]:
        """Store `documents` (unordered), and return those that MongoDB refuses. They hold up nothing else.

        When this returns, all the others are stored. When it raises, some may be; after that, or after a refusal of a
        whole command, measurements can be stored twice under the same `revision` and `write`: readers see one.

        Args:
            documents: as `streamproc.core.fold.Measurement.document` makes them.
        """
        keyed = [(key_of(document["metadata"]), document) for document in documents]
        return await insert_all(self._collection, keyed)

    async def delete(self, stored: Iterable[Stored]) -> int:
        """Delete exactly these: of other revisions, writes, users and hours nothing. Returns how many were deleted."""
        deleted = 0
        for batch in _batches(list(stored)):
            deletions = [DeleteMany(_exactly(one)) for one in batch]
            deleted += (await self._collection.bulk_write(deletions, ordered=False)).deleted_count
        return deleted

    async def sweep(self, since_ms: int, until_ms: int) -> int:
        """Of every window that starts in ``[since_ms, until_ms)``, delete all but the highest; returns how many."""
        deleted = 0
        for day in _days(since_ms, until_ms):
            cursor = await self._collection.aggregate([{"$match": _between(*day)}, *_SEVERAL], allowDiskUse=True)
            superseded = [stored async for group in cursor for stored in _superseded(group)]
            deleted += await self.delete(superseded)
        return deleted

    async def erase_user(self, user_id: str, up_to_start_ms: int) -> int:
        """Delete the user's measurements of all windows up to and with the one that starts at `up_to_start_ms`."""
        return (await self._collection.delete_many(_of_user(user_id, up_to_start_ms))).deleted_count

    async def count_user(self, user_id: str, up_to_start_ms: int) -> int:
        """How many measurements `erase_user` would delete."""
        return await self._collection.count_documents(_of_user(user_id, up_to_start_ms))

    async def documents_between(self, since_ms: int, until_ms: int) -> AsyncIterator[Document]:
        """The measurements (without `_id`) of windows that start in ``[since_ms, until_ms)``, in order of time.

        One for each key, the highest. A window that is being replaced meanwhile may be missed: ask `look_up` about it.
        """
        for day in _days(since_ms, until_ms):
            # Batches as small as elsewhere: whoever decodes megabytes at once hears nothing of the server meanwhile.
            found = self._collection.find(_between(*day), {"_id": 0}, batch_size=_BATCH)
            async with found.sort("timestamp").allow_disk_use(True) as cursor:
                async for hour in _highest_by_hour(cursor):
                    for document in hour:
                        yield document

    async def _find(self, keys: Iterable[WindowKey], fields: Document) -> dict[WindowKey, list[Document]]:
        """By the session index, which the *timestamp* narrows to the hour; `hour` leaves out what others stored."""
        found: dict[WindowKey, list[Document]] = {key: [] for key in keys}
        for start_ms, same_hour in groupby(sorted(found), key=lambda key: key.start_ms):
            hour = _date(start_ms)
            for sessions in _batches(sorted({key.session_id for key in same_hour})):
                query = {"timestamp": hour, "metadata.session_id": {"$in": sessions}, "metadata.hour": hour}
                async for document in self._collection.find(query, fields, batch_size=_BATCH):
                    key = key_of(document["metadata"])
                    if key in found:  # a session with two users, or channels, has several windows
                        found[key].append(document)
        return found


def stored_of(document: Mapping[str, Any]) -> Stored:
    """What tells this measurement from the others of its window."""
    metadata = document["metadata"]
    return Stored(key_of(metadata), metadata["revision"], metadata["write"], document.get("segments_digest", ""))


def _exactly(stored: Stored) -> Document:
    """Selects one measurement. By metaField only: deletes by time lose data (SERVER-94559, SERVER-99527)."""
    return {
        "metadata.session_id": stored.key.session_id,
        "metadata.channel_id": stored.key.channel_id,
        "metadata.user_id": stored.key.user_id,
        "metadata.hour": _date(stored.key.start_ms),
        "metadata.revision": stored.revision,
        "metadata.write": stored.write,
    }


def _of_user(user_id: str, up_to_start_ms: int) -> Document:
    """Selects a user's measurements up to and with a window. By metaField only, as it selects what is deleted."""
    return {"metadata.user_id": user_id, "metadata.hour": {"$lte": _date(up_to_start_ms)}}


def _between(since_ms: int, until_ms: int) -> Document:
    hours = {"$gte": _date(since_ms), "$lt": _date(until_ms)}
    return {"timestamp": hours, "metadata.hour": hours}


_IDENTITY = ("hour", "channel_id", "session_id", "user_id")
_SEVERAL: list[Document] = [
    {
        "$group": {
            "_id": {name: f"$metadata.{name}" for name in _IDENTITY},
            "stored": {"$addToSet": {"revision": "$metadata.revision", "write": "$metadata.write"}},
        }
    },
    {"$match": {"stored.1": {"$exists": True}}},
]


def _superseded(group: Document) -> list[Stored]:
    """All but the highest of one group of the `_SEVERAL` pipeline."""
    return sorted(stored_of({"metadata": {**group["_id"], **one}}) for one in group["stored"])[:-1]


async def _highest_by_hour(documents: AsyncIterable[Document]) -> AsyncIterator[Collection[Document]]:
    """For each window start, in the order in which they come, the highest measurement of each key."""
    best: dict[WindowKey, Document] = {}
    start_ms = None
    async for document in documents:
        key = key_of(document["metadata"])
        if key.start_ms != start_ms:
            yield best.values()
            best, start_ms = {}, key.start_ms
        best[key] = max(best.get(key, document), document, key=_order)
    yield best.values()


def _order(document: Document) -> tuple[int, int]:
    return document["metadata"]["revision"], document["metadata"]["write"]


def _days(since_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
    """``[since_ms, until_ms)`` in slices of at most a day, so that no query grows with the range."""
    for start_ms in range(since_ms, until_ms, _DAY_MS):
        yield start_ms, min(start_ms + _DAY_MS, until_ms)


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _date(epoch_ms: int) -> datetime:
    return _EPOCH + epoch_ms * _MILLISECOND
