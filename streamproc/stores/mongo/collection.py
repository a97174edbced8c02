"""The time-series collection of measurements: made once, then only checked.

Its options decide what the measurements mean (which field is the time, when they expire, which deletes are safe), and
MongoDB lets almost none of them be changed later; so a collection with others is refused, never adapted or used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

COLLECTION = "dubbing_metrics_ts"
TIME_FIELD = "timestamp"
META_FIELD = "metadata"
# A bucket expires as a whole, when its newest measurement may: `hours` allows buckets of 30 days, `minutes` of one.
GRANULARITY = "minutes"
EXPIRE_AFTER_SECONDS = 7_776_000  # 90 days
INDEXED = ("channel_id", "user_id", "session_id")

# Older ones cannot delete from a time-series collection at all, not even by metaField:
# https://www.mongodb.com/docs/v5.0/core/timeseries/timeseries-limitations/
OLDEST_SERVER = (5, 0, 5)

_NAMESPACE_EXISTS = 48  # https://www.mongodb.com/docs/manual/reference/error-codes/
_OPTIONS: dict[str, Any] = {
    "timeField": TIME_FIELD,
    "metaField": META_FIELD,
    "granularity": GRANULARITY,
    "expireAfterSeconds": EXPIRE_AFTER_SECONDS,
}


class ServerTooOld(Exception):
    """The MongoDB server cannot hold the collection; the message names its version and the one needed."""


class CollectionMismatch(Exception):
    """A collection of that name exists and is another one; the message names each difference and the remedy."""


async def ensure_collection(database: AsyncDatabase[dict[str, Any]]) -> None:
    """Make the collection and its indexes if they are missing, and check what is there.

    Idempotent, and harmless when many processes do it at once: whoever comes second finds the collection made.

    Raises:
        ServerTooOld: the server is older than `OLDEST_SERVER`.
        CollectionMismatch: the name is taken by something else. Nothing was changed.
        pymongo.errors.PyMongoError: MongoDB is away, or this user may not do that.
    """
    check_version((await database.client.server_info())["versionArray"])
    if await _found(database) is None:
        await _create(database)
    _check(database.name, await _found(database))
    await database[COLLECTION].create_indexes(
        [IndexModel([(f"{META_FIELD}.{name}", ASCENDING), (TIME_FIELD, DESCENDING)]) for name in INDEXED]
    )


async def described(database: AsyncDatabase[dict[str, Any]]) -> tuple[Mapping[str, Any], list[Mapping[str, int]]]:
    """Options and indexes of the collection, as the server tells them. Raises pymongo.errors.PyMongoError."""
    found = await _found(database)
    indexes: list[Mapping[str, int]] = [dict(one["key"]) async for one in await database[COLLECTION].list_indexes()]
    return (found or {}).get("options", {}), indexes


def check_version(version: Sequence[int]) -> None:
    """Raises `ServerTooOld` if `version` (major, minor, patch, ...) is older than `OLDEST_SERVER`."""
    if tuple(version[:3]) < OLDEST_SERVER:
        raise ServerTooOld(
            f"MongoDB {_dotted(version[:3])} is too old: its time-series collections lack what {COLLECTION} needs. "
            f"Upgrade the server to {_dotted(OLDEST_SERVER)} or newer."
        )


async def _create(database: AsyncDatabase[dict[str, Any]]) -> None:
    try:
        await database.create_collection(
            COLLECTION,
            check_exists=False,
            timeseries={"timeField": TIME_FIELD, "metaField": META_FIELD, "granularity": GRANULARITY},
            expireAfterSeconds=EXPIRE_AFTER_SECONDS,
        )
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:  # another process was faster; what it made is checked like any other
            raise


async def _found(database: AsyncDatabase[dict[str, Any]]) -> Mapping[str, Any] | None:
    """What the server says of the collection, or None if there is none."""
    async for collection in await database.list_collections(filter={"name": COLLECTION}):
        return collection
    return None


def _check(database_name: str, collection: Mapping[str, Any] | None) -> None:
    differences = _differences(collection)
    if differences:
        listed = "; ".join(f"{what}: expected {wanted!r}, found {found!r}" for what, wanted, found in differences)
        remedy = _remedy([what for what, _, _ in differences])
        raise CollectionMismatch(f"{database_name}.{COLLECTION} exists, but differs: {listed}. {remedy}")


def _differences(collection: Mapping[str, Any] | None) -> list[tuple[str, object, object]]:
    kind = collection["type"] if collection else None
    if collection is None or kind != "timeseries":
        return [("type", "timeseries", kind)]
    options = collection["options"]
    found = {**options["timeseries"], "expireAfterSeconds": options.get("expireAfterSeconds")}
    return [(name, wanted, found.get(name)) for name, wanted in _OPTIONS.items() if found.get(name) != wanted]


def _remedy(differing: Sequence[str]) -> str:
    if list(differing) == ["expireAfterSeconds"]:
        change = f'{{collMod: "{COLLECTION}", expireAfterSeconds: {EXPIRE_AFTER_SECONDS}}}'
        return f"Correct it with db.runCommand({change}), or set STREAMPROC_MONGODB_DATABASE to another database."
    return (
        "It cannot be corrected in place. Set STREAMPROC_MONGODB_DATABASE to a database without this collection, or "
        "save its data and drop it; then run `streamproc init`."
    )


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
