"""What a day's measurements come to, as MongoDB itself counts: the archive's other way to the same numbers.

Of each window the highest (revision, write) counts. Stored sums are milliseconds; MongoDB turns each into the whole
microseconds that it is before it adds them, so that no rounding is in the total.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pymongo.asynchronous.database import AsyncDatabase

from streamproc.core.day_rows import COUNTS, TIMES, Totals
from streamproc.core.rows import date
from streamproc.stores.mongo.collection import COLLECTION

_IDENTITY: Final = ("hour", "channel_id", "session_id", "user_id")
# `$max` compares documents field by field, in this order: https://www.mongodb.com/docs/manual/reference/operator/aggregation/max/
_HIGHEST: Final[dict[str, Any]] = {
    "revision": "$metadata.revision",
    "write": "$metadata.write",
    **{name: {"$toLong": f"${stored}"} for name, stored in COUNTS.items()},
    **{name: {"$toLong": {"$round": [{"$multiply": [f"${stored}", 1000]}, 0]}} for name, stored in TIMES.items()},
}
_PIPELINE: Final[list[dict[str, Any]]] = [
    {"$group": {"_id": {name: f"$metadata.{name}" for name in _IDENTITY}, "highest": {"$max": _HIGHEST}}},
    {
        "$group": {
            "_id": None,
            "windows": {"$sum": 1},
            "highest_write": {"$max": "$highest.write"},
            **{name: {"$sum": f"$highest.{name}"} for name in (*COUNTS, *TIMES)},
        }
    },
]


class StoredDay(NamedTuple):
    """What is stored of a stretch of time.

    Attributes:
        highest_write: of the measurements that count; 0 where there are none.
    """

    totals: Totals
    highest_write: int


class DayTotals:
    """Asks one database. Trouble with the server is raised as `pymongo.errors.PyMongoError`: repeat."""

    def __init__(self, database: AsyncDatabase[Any]) -> None:
        self._collection = database[COLLECTION]

    async def between(self, since_ms: int, until_ms: int) -> StoredDay:
        """Of windows that start in ``[since_ms, until_ms)``."""
        pipeline = [{"$match": _between(since_ms, until_ms)}, *_PIPELINE]
        async with await self._collection.aggregate(pipeline, allowDiskUse=True) as cursor:
            async for found in cursor:
                totals = {name: int(found[name]) for name in Totals.__struct_fields__}
                return StoredDay(Totals(**totals), int(found["highest_write"]))
        return StoredDay(Totals(), 0)

    async def any_between(self, since_ms: int, until_ms: int) -> bool:
        """Whether there are any; soon answered."""
        return await self._collection.find_one(_between(since_ms, until_ms), {"_id": 1}) is not None


def _between(since_ms: int, until_ms: int) -> Mapping[str, Any]:
    hours = {"$gte": date(since_ms), "$lt": date(until_ms)}
    return {"timestamp": hours, "metadata.hour": hours}
