"""The product's session documents, which other services own, write and read: one for each viewer's dubbing session.

Of these documents nothing is ours but the field `hourly_metrics`; no document is ever made here, and none is deleted
but to erase a person. Their fields `session_id` (unique), `user_id` and `started_at` are read.

Trouble with the server is raised as `pymongo.errors.PyMongoError`: repeat.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase

COLLECTION: Final = "live_dubbing_sessions"

Document = dict[str, Any]

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


class SessionStore:
    """The session documents of one database, of a client made by `connect`."""

    def __init__(self, database: AsyncDatabase[Document], collection: str = COLLECTION) -> None:
        self._collection = database[collection]

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


def _of_user(user_id: str, started_until_ms: int) -> Document:
    """Selects a user's session documents, but for those that are known to have started later."""
    later = {"started_at": {"$gt": _EPOCH + started_until_ms * _MILLISECOND}}
    return {"user_id": user_id, "$nor": [later]}
