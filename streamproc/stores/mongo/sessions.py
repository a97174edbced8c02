"""The product's session documents, which other services own, write and read: one for each viewer's dubbing session.

Of these documents nothing is ours but the field `hourly_metrics`; no document is ever made here, and none is deleted
but to erase a person. Their fields `session_id` (unique), `user_id`, `status`, `started_at` and `last_activity_at` are
read.

Trouble with the server is raised as `pymongo.errors.PyMongoError`: repeat.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from streamproc.core.sessions import SessionMetrics
from streamproc.stores.mongo.collection import COLLECTION as MEASUREMENTS

COLLECTION: Final = "live_dubbing_sessions"
FIELD: Final = "hourly_metrics"

Document = dict[str, Any]

# DocumentValidationFailure: the collection has a validator that does not know the field.
_INVALID: Final = 121
_VERSION: Final = f"{FIELD}.version"
_READ: Final = {"session_id": 1, "user_id": 1, "status": 1, "last_activity_at": 1, FIELD: 1}
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


class SessionDocument(NamedTuple):
    """What is read of one document.

    Attributes:
        kept: what it holds of its hours; None where that is nothing, or not of ours.
        version: of that, as it stands there.
        is_active, last_activity_ms: as those say who own it; None where they do not.
    """

    id: Any
    session_id: Any
    user_id: Any
    kept: SessionMetrics | None
    version: Any
    is_active: bool = False
    last_activity_ms: int | None = None


class Update(NamedTuple):
    """What a document is to hold of its hours."""

    document: SessionDocument
    metrics: SessionMetrics


class Updated(NamedTuple):
    """What became of updates: how many were written, and which MongoDB refuses for what their documents would be."""

    written: int
    refused: list[Update]


class SessionStore:
    """The session documents of one database, of a client made by `connect`."""

    def __init__(self, database: AsyncDatabase[Document], collection: str = COLLECTION) -> None:
        self._database = database
        self._collection = database[collection]
        self.name = collection

    async def load(self, session_ids: Collection[str]) -> list[SessionDocument]:
        """Those of these sessions that there are documents of."""
        found = self._collection.find({"session_id": {"$in": list(session_ids)}}, _READ)
        return [_read(document) async for document in found]

    async def page(self, after: Any, limit: int) -> list[SessionDocument]:
        """The next documents in the order of `_id`, after that one. The first ones after None."""
        cursor = self._collection.find({}, _READ).hint([("_id", 1)]).limit(limit)
        if after is not None:
            # `min` goes on in the order of ids of any type, from the one given; `$gt` knows those of one type alone.
            cursor = cursor.min([("_id", after)]).limit(limit + 1)
        return [_read(document) async for document in cursor if document["_id"] != after]

    async def count(self) -> int:
        """How many documents there are, about."""
        return await self._collection.estimated_document_count()

    async def exists(self) -> bool:
        """Whether there is such a collection."""
        return self.name in await self._database.list_collection_names(filter={"name": self.name})

    async def is_indexed(self) -> bool:
        """Whether documents are found by their session's id."""
        indexes = [index async for index in await self._collection.list_indexes()]
        return any(next(iter(index["key"].items()), None) == ("session_id", 1) for index in indexes)

    async def update(self, updates: Sequence[Update]) -> Updated:
        """Write what documents are to hold, unless they hold another version than the one that was read.

        One bulk write, in no order. It never makes a document, and touches no field but `hourly_metrics`. Where fewer
        were written than asked for and not refused, read all of them again: somebody else wrote, or deleted, meanwhile.
        """
        if not updates:
            return Updated(0, [])
        writes = [
            UpdateOne(
                {"_id": document.id, _VERSION: document.version},
                {"$set": {FIELD: {"source": MEASUREMENTS, **metrics.document()}}},
            )
            for document, metrics in updates
        ]
        try:
            return Updated((await self._collection.bulk_write(writes, ordered=False)).matched_count, [])
        except BulkWriteError as error:
            details = error.details or {}
            errors = details.get("writeErrors", [])
            if not errors or details.get("writeConcernErrors") or any(one["code"] != _INVALID for one in errors):
                raise
            return Updated(details["nMatched"], [updates[one["index"]] for one in errors])

    async def remove_metrics(self, ids: Sequence[Any]) -> int:
        """Take `hourly_metrics` out of these documents. Returns how many had it."""
        selected = {"_id": {"$in": list(ids)}, FIELD: {"$exists": True}}
        return (await self._collection.update_many(selected, {"$unset": {FIELD: ""}})).modified_count

    async def erase_user(self, user_id: str, started_until_ms: int) -> list[str]:
        """Delete the user's session documents that started at or before that time. Returns their session ids.

        One that does not say when it started is deleted as well.
        """
        covered = _of_user(user_id, started_until_ms)
        found = [(one["_id"], one.get("session_id")) async for one in self._collection.find(covered, {"session_id": 1})]
        if found:
            await self._collection.delete_many({"_id": {"$in": [_id for _id, _ in found]}})
        return [str(session_id) for _, session_id in found]

    async def count_user(self, user_id: str, started_until_ms: int) -> int:
        """How many documents `erase_user` would delete."""
        return await self._collection.count_documents(_of_user(user_id, started_until_ms))


def _read(document: Mapping[str, Any]) -> SessionDocument:
    there = document.get(FIELD)
    try:
        kept = None if there is None else SessionMetrics.from_document(there)
    except (KeyError, TypeError, ValueError, AttributeError):
        kept = None  # not of ours, or of another version: it is worked out afresh
    version = there.get("version") if isinstance(there, dict) else None
    last_activity = document.get("last_activity_at")
    return SessionDocument(
        id=document["_id"],
        session_id=document.get("session_id"),
        user_id=document.get("user_id"),
        kept=kept,
        version=version,
        is_active=document.get("status") == "active",
        last_activity_ms=(last_activity - _EPOCH) // _MILLISECOND if isinstance(last_activity, datetime) else None,
    )


def _of_user(user_id: str, started_until_ms: int) -> Document:
    """Selects a user's session documents, but for those that are known to have started later."""
    later = {"started_at": {"$gt": _EPOCH + started_until_ms * _MILLISECOND}}
    return {"user_id": user_id, "$nor": [later]}
