"""Erasures in MongoDB: the requests with their progress, which become their receipts; and MongoDB's layers.

A request is written before anything is erased, to a majority and its journal: whatever happens then, it is known that
somebody is to be erased, and up to when. The user's id is in it only encrypted, and only for as long as the erasure may
have to be applied again; the keyed hash stays, and tells nobody who it was.

Several processes may be at one erasure. So progress is written by operators that end in the same, in any order: what
was found is added up, names are put together as a set, the first time at which a pass was through is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from streamproc.core.erasure_key import ErasureKey
from streamproc.core.erasures import SESSIONS, Erasure, Pass, Subject, Tally
from streamproc.core.windows import Windowing
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.mongo.sessions import SessionStore

COLLECTION: Final = "erasures"

Document = dict[str, Any]

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TIMES: Final = {one.name: one.name.removesuffix("_ms") for one in fields(Erasure) if one.name.endswith("_ms")}
_DONE: Final = {Pass.FIRST: "first_pass_at", Pass.SECOND: "completed_at"}


class UnknownErasure(LookupError):
    """There is no erasure of that id."""


class MeasurementErasure:
    """A layer of erasure: the time-series collection."""

    name = "measurements"

    def __init__(self, measurements: MeasurementStore) -> None:
        self._measurements = measurements

    async def erase(self, subjects: Sequence[Subject]) -> list[Tally]:
        """Erase what is covered. Returns for each subject what was found. Raises pymongo.errors.PyMongoError."""
        return [
            {"documents": await self._measurements.erase_user(one.user_id, one.covered_start_ms)} for one in subjects
        ]

    async def look(self, subject: Subject) -> Tally:
        """What is there of what an erasure covers. Raises pymongo.errors.PyMongoError."""
        return {"documents": await self._measurements.count_user(subject.user_id, subject.covered_start_ms)}


class SessionErasure:
    """A layer of erasure: the product's session documents.

    A session is covered if it had started when the erasure was asked for, by a clock that may be ahead by the future
    tolerance; of one that started later, nothing is known from before.
    """

    name = "sessions"

    def __init__(self, sessions: SessionStore, key: ErasureKey, windowing: Windowing) -> None:
        self._sessions = sessions
        self._key = key
        self._windowing = windowing

    async def erase(self, subjects: Sequence[Subject]) -> list[Tally]:
        """Erase what is covered. Returns for each subject the hashes of its sessions.

        Raises:
            pymongo.errors.PyMongoError: repeat it.
        """
        return [
            {SESSIONS: [self._key.hash(name) for name in await self._sessions.erase_user(*self._covered(one))]}
            for one in subjects
        ]

    async def look(self, subject: Subject) -> Tally:
        """What is there of what an erasure covers. Raises pymongo.errors.PyMongoError."""
        return {SESSIONS: await self._sessions.count_user(*self._covered(subject))}

    def _covered(self, subject: Subject) -> tuple[str, int]:
        return subject.user_id, subject.requested_at_ms + self._windowing.future_ms


class ErasureStore:
    """The erasures of one database. Trouble with the server is raised as `pymongo.errors.PyMongoError`: repeat."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._collection = database[COLLECTION]

    async def prepare(self) -> None:
        """Make the indexes. Safe to repeat."""
        for name in ("user_hash", "completed_at", "keep_until"):
            await self._collection.create_index(name)

    async def add(self, erasure: Erasure) -> None:
        """Write a request down. When this returns, it is known and will be carried out."""
        await self._collection.insert_one(_document(erasure))

    async def load(self, erasure_id: str) -> Erasure:
        """Raises UnknownErasure."""
        document = await self._collection.find_one({"_id": erasure_id})
        if document is None:
            raise UnknownErasure(f"there is no erasure {erasure_id!r}")
        return _erasure(document)

    async def of_user(self, user_hash: str) -> list[Erasure]:
        """All erasures of a user, the oldest first."""
        return await self._find({"user_hash": user_hash})

    async def unfinished(self) -> list[Erasure]:
        """Those of which the second pass is not through, the oldest first."""
        return await self._find({"completed_at": None})

    async def live(self, now_ms: int) -> list[Erasure]:
        """Those that may have to be applied again, the oldest first."""
        return await self._find({"keep_until": {"$gt": _date(now_ms)}, "sealed": {"$ne": None}})

    async def record(
        self, erasure_id: str, which: Pass, tallies: Mapping[str, Tally], trouble: Mapping[str, str], at_ms: int
    ) -> Erasure:
        """Write down what a pass found in each layer, and what kept it from others. Without trouble it is through.

        Raises:
            UnknownErasure: somebody deleted it.
        """
        update = _added(which, tallies)
        if which in _DONE:
            update["$set"] = {"trouble": dict(trouble)}
            if not trouble:
                update["$min"] = {_DONE[which]: _date(at_ms)}
        document = await self._collection.find_one_and_update(
            {"_id": erasure_id}, update, return_document=ReturnDocument.AFTER
        )
        if document is None:
            raise UnknownErasure(f"there is no erasure {erasure_id!r}")
        return _erasure(document)

    async def forget_ids(self, now_ms: int) -> int:
        """Remove the encrypted ids of erasures that need not be applied again. Returns how many."""
        done = {"keep_until": {"$lte": _date(now_ms)}, "completed_at": {"$ne": None}, "sealed": {"$ne": None}}
        return (await self._collection.update_many(done, {"$unset": {"sealed": ""}})).modified_count

    async def _find(self, query: Document) -> list[Erasure]:
        return [_erasure(document) async for document in self._collection.find(query).sort("requested_at")]


def _added(which: Pass, tallies: Mapping[str, Tally]) -> Document:
    """The operators that add what a pass found."""
    counts: Document = {}
    names: Document = {}
    for layer, tally in tallies.items():
        for what, found in tally.items():
            place = f"tallies.{which}.{layer}.{what}"
            if isinstance(found, int):
                counts[place] = found
            else:
                names[place] = {"$each": list(found)}
    return {operator: changes for operator, changes in (("$inc", counts), ("$addToSet", names)) if changes}


def _document(erasure: Erasure) -> Document:
    """As it is stored: times as dates, everything else as it is called in `Erasure`, and what is None not at all."""
    document: Document = {"_id": erasure.id}
    for one in fields(Erasure):
        value = getattr(erasure, one.name)
        if value is not None and one.name != "id":
            document[_TIMES.get(one.name, one.name)] = _date(value) if one.name in _TIMES else value
    return document


def _erasure(document: Document) -> Erasure:
    times = {name: (document[at] - _EPOCH) // _MILLISECOND for name, at in _TIMES.items() if at in document}
    others = {name: document[name] for name in ("user_hash", "sealed", "tallies", "trouble") if name in document}
    return Erasure(id=document["_id"], **others, **times)


def _date(epoch_ms: int) -> datetime:
    return _EPOCH + epoch_ms * _MILLISECOND
