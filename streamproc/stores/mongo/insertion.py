"""Inserting many documents so that one which MongoDB will never take holds up no other.

A refusal is a verdict on a document; trouble with the server is none, and is raised. What is wrong with which document
is known, in this order, because it cannot be encoded, because the server names it, or by bisection, where the server
fails the whole command for it (measured on 6.0.5: above about 5 MB, since a bucket holds a document three times over).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import bson
from bson import ObjectId
from bson.errors import InvalidDocument
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, OperationFailure

from streamproc.core.windows import WindowKey

Document = dict[str, Any]

_REASON_CHARACTERS = 500
_DOCUMENT_BYTES = 16 * 1024 * 1024  # https://www.mongodb.com/docs/manual/reference/limits/

# What a server says of one document: BadValue, FailedToParse, TypeMismatch, Overflow, InvalidBSON,
# DollarPrefixedFieldName, InvalidIdField, EmptyFieldName, DottedFieldName, DocumentValidationFailure,
# BSONObjectTooLarge. Any other code is trouble with the server (away, full, too slow, not allowed) and no reason to
# give a document up. https://www.mongodb.com/docs/manual/reference/error-codes/
_REFUSALS = frozenset({2, 9, 14, 15, 22, 52, 53, 56, 57, 121, 10334})
# Of a whole command: only those by which it cannot mean the command or its write concern.
_COMMAND_REFUSALS = frozenset({15, 22, 10334})


class Refused(NamedTuple):
    """A measurement that MongoDB will never take, and why."""

    key: WindowKey
    reason: str


class _Encoded(NamedTuple):
    key: WindowKey
    document: RawBSONDocument


async def insert_all(
    collection: AsyncCollection[Document], documents: Iterable[tuple[WindowKey, Document]]
) -> list[Refused]:
    """Insert `documents`, in no order, and return those that are refused; all the others are stored.

    Raises:
        pymongo.errors.PyMongoError: trouble with the server; some documents may be stored, none is refused.
    """
    refused: list[Refused] = []
    encoded: list[_Encoded] = []
    for key, document in documents:
        try:
            encoded.append(_Encoded(key, _encode(document)))
        except (InvalidDocument, OverflowError, UnicodeEncodeError) as error:
            refused.append(_refused(key, error))
    return refused + await _insert(collection, encoded)


async def _insert(collection: AsyncCollection[Document], batch: Sequence[_Encoded]) -> list[Refused]:
    if not batch:
        return []
    try:
        await collection.insert_many([encoded.document for encoded in batch], ordered=False)
    except BulkWriteError as error:
        return _refused_singly(batch, error)
    except OperationFailure as error:
        if error.code not in _COMMAND_REFUSALS:
            raise
        if len(batch) == 1:
            return [_refused(batch[0].key, (error.details or {}).get("errmsg", error))]
        middle = len(batch) // 2
        return await _insert(collection, batch[:middle]) + await _insert(collection, batch[middle:])
    return []


def _encode(document: Document) -> RawBSONDocument:
    """Encode by itself, before anything is sent, what is then sent as it is.

    Raises:
        InvalidDocument, OverflowError, UnicodeEncodeError: BSON has no form for it, or it is too large.
    """
    encoded = bson.encode({"_id": ObjectId(), **document})  # to an encoded document the driver adds none
    if len(encoded) > _DOCUMENT_BYTES:
        raise InvalidDocument(f"the document has {len(encoded)} bytes, and MongoDB takes {_DOCUMENT_BYTES}")
    return RawBSONDocument(encoded)


def _refused_singly(batch: Sequence[_Encoded], error: BulkWriteError) -> list[Refused]:
    """The documents that the server names. Raises `error` if it names anything that is not a document's fault."""
    details = error.details or {}
    failures = details.get("writeErrors", [])
    theirs = failures and all(failure["code"] in _REFUSALS for failure in failures)
    if not theirs or details.get("writeConcernErrors"):
        raise error
    return [_refused(batch[failure["index"]].key, failure["errmsg"]) for failure in failures]


def _refused(key: WindowKey, reason: object) -> Refused:
    return Refused(key, str(reason)[:_REASON_CHARACTERS])
