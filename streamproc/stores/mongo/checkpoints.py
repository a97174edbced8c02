"""How far long work on a collection has come, in MongoDB: whoever starts it again goes on from there."""

from __future__ import annotations

from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase

COLLECTION: Final = "dubbing_checkpoints"


class Checkpoints:
    """The checkpoints of one database. All of it raises pymongo.errors.PyMongoError: repeat."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._collection = database[COLLECTION]

    async def load(self, work: str) -> dict[str, Any]:
        """What was saved last; empty where there is nothing."""
        saved = await self._collection.find_one({"_id": work}, {"_id": 0})
        return dict(saved or {})

    async def save(self, work: str, **state: Any) -> None:
        """Keep this instead of what was saved before."""
        await self._collection.replace_one({"_id": work}, state, upsert=True)

    async def remove(self, work: str) -> None:
        """The work is done: it would begin at the beginning."""
        await self._collection.delete_one({"_id": work})
