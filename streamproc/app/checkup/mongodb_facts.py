"""What a MongoDB tells of itself and of the collection of measurements. Reads and explains only."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ExecutionTimeout, OperationFailure

from streamproc.app.checkup.known_bugs import Version
from streamproc.stores.mongo.collection import COLLECTION, META_FIELD, TIME_FIELD

_T = TypeVar("_T")
Database = AsyncDatabase[dict[str, Any]]

# Unauthorized, CommandNotFound, CommandNotSupported, AtlasError: https://www.mongodb.com/docs/manual/reference/error-codes/
_NOT_FOR_US: Final = frozenset({13, 59, 115, 8000})
_SEARCH_MS: Final = 5000
#: Outside of these a timestamp ends the expiry of the whole collection: SERVER-79864, SERVER-97368.
FIRST_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST_TIME: Final = datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MongoFacts:
    """One deployment, as the primary tells it. What the user may not ask is None.

    Attributes:
        hello: https://www.mongodb.com/docs/manual/reference/command/hello/
        privileges: of the user; None where nobody has to log in.
        collection: type and options; None where there is none, or it may not be asked.
        listed: whether the collections could be asked for.
        indexes: key patterns.
        plans: of each of `QUERIES`, the stages of the winning plan; empty where there is no time-series collection.
        strays: how many kinds of timestamps outside the range of dates there are: 0 to 2.
        disk: bytes in all and used, where the server tells.
    """

    version: Version
    hello: Mapping[str, Any]
    answer_ms: float
    privileges: Sequence[Mapping[str, Any]] | None
    listed: bool
    collection: Mapping[str, Any] | None
    indexes: Sequence[Mapping[str, int]] | None
    plans: Mapping[str, Sequence[str]]
    strays: int | None
    disk: tuple[float, float] | None


BY_TIME: Final = "by time"
_DAY: Final = timedelta(days=1)
_SOME: Final = datetime(2026, 1, 1, tzinfo=UTC)
#: What the product asks, in the form in which it asks: the flusher, the eraser, the answers, the sweep.
QUERIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "look up stored windows": {
        TIME_FIELD: _SOME,
        f"{META_FIELD}.session_id": {"$in": ["a", "b"]},
        f"{META_FIELD}.hour": _SOME,
    },
    "by user": {f"{META_FIELD}.user_id": "a", f"{META_FIELD}.hour": {"$lte": _SOME}},
    "by channel": {f"{META_FIELD}.channel_id": "a", TIME_FIELD: {"$gte": _SOME, "$lt": _SOME + _DAY}},
    "by session": {f"{META_FIELD}.session_id": "a"},
    BY_TIME: {TIME_FIELD: {"$gte": _SOME, "$lt": _SOME + _DAY}},
}


async def look_at_mongodb(database: Database) -> MongoFacts:
    """Raises pymongo.errors.PyMongoError where MongoDB is away or refuses user and password."""
    hello, answer_ms = await _hello(database)
    numbers = (await database.client.server_info())["versionArray"]
    listed, collection = await _collection(database)
    is_ours = collection is not None and collection["type"] == "timeseries"
    return MongoFacts(
        version=(numbers[0], numbers[1], numbers[2]),
        hello=hello,
        answer_ms=answer_ms,
        privileges=await _privileges(database),
        listed=listed,
        collection=collection,
        indexes=await _allowed(_indexes(database)) if is_ours else None,
        plans=await _plans(database) if is_ours else {},
        strays=await _strays(database) if is_ours else None,
        disk=await _disk(database),
    )


async def _hello(database: Database) -> tuple[Mapping[str, Any], float]:
    taken_ms = []
    for _ in range(3):
        asked = time.perf_counter()
        hello = await database.client.admin.command("hello")
        taken_ms.append((time.perf_counter() - asked) * 1000)
    return hello, min(taken_ms)


async def _privileges(database: Database) -> Sequence[Mapping[str, Any]] | None:
    status = await database.command("connectionStatus", showPrivileges=True)
    told = status["authInfo"]
    return told["authenticatedUserPrivileges"] if told["authenticatedUsers"] else None


async def _collection(database: Database) -> tuple[bool, Mapping[str, Any] | None]:
    found = await _allowed(_listed(database))
    return found is not None, found[0] if found else None


async def _listed(database: Database) -> list[Mapping[str, Any]]:
    return [one async for one in await database.list_collections(filter={"name": COLLECTION})]


async def _indexes(database: Database) -> list[Mapping[str, int]]:
    return [dict(index["key"]) async for index in await database[COLLECTION].list_indexes()]


async def _plans(database: Database) -> dict[str, Sequence[str]]:
    plans: dict[str, Sequence[str]] = {}
    for name, query in QUERIES.items():
        command = {"explain": {"find": COLLECTION, "filter": query}, "verbosity": "queryPlanner"}
        explained = await _allowed(database.command(command))
        plans[name] = [] if explained is None else stages(explained)
    return plans


def stages(explained: Any) -> list[str]:
    """The stages of every winning plan in what EXPLAIN answered, whatever the server's version wraps it in."""
    if isinstance(explained, list):
        return [stage for one in explained for stage in stages(one)]
    if not isinstance(explained, dict):
        return []
    own = [explained["stage"]] if isinstance(explained.get("stage"), str) else []
    return own + [stage for name, one in explained.items() if name != "rejectedPlans" for stage in stages(one)]


async def _strays(database: Database) -> int | None:
    queries = [{TIME_FIELD: {"$gt": LAST_TIME}}, {TIME_FIELD: {"$lt": FIRST_TIME}}]
    try:
        found = [await _allowed(_holds(database, query)) for query in queries]
    except ExecutionTimeout:
        return None
    seen = [one for one in found if one is not None]
    return sum(seen) if len(seen) == len(queries) else None


async def _holds(database: Database, query: Mapping[str, Any]) -> bool:
    return await database[COLLECTION].find_one(query, {"_id": 1}, max_time_ms=_SEARCH_MS) is not None


async def _disk(database: Database) -> tuple[float, float] | None:
    told = await _allowed(database.command("dbStats"))
    return (told["fsTotalSize"], told["fsUsedSize"]) if told and told.get("fsTotalSize") else None


async def _allowed(answer: Awaitable[_T]) -> _T | None:
    try:
        return await answer
    except OperationFailure as error:
        if error.code not in _NOT_FOR_US:
            raise
        return None
