"""Days brought back from the archive, in a collection of their own.

It is none of ours to read: no role, no answer and no erasure looks into it. So it deletes itself, a week after it was
written, and must never bear the name of the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase

from streamproc.core.day_rows import DayRow
from streamproc.stores.mongo import collection, erasures

KEEP_SECONDS: Final = 604_800
_BATCH: Final = 1000


class NameTaken(ValueError):
    """The collection exists, or its name is taken by something else. The message says what to do."""


def default_name(day: date) -> str:
    return f"restored_{day:%Y_%m_%d}"


async def restore(database: AsyncDatabase[Any], name: str, day: date, rows: Sequence[DayRow], *, replace: bool) -> int:
    """Write a day's rows into a new collection. Returns how many. The first failure leaves what was written.

    Raises:
        NameTaken: nothing was changed.
        pymongo.errors.PyMongoError: start again, with `replace`.
    """
    if name in (collection.COLLECTION, erasures.COLLECTION) or name.startswith("system.") or not name or "$" in name:
        raise NameTaken(f"{name!r} is not a name for a restored day: choose another, such as {default_name(day)}")
    if name in await database.list_collection_names():
        if not replace or not await _is_restored(database, name):
            raise NameTaken(f"{name} exists: choose another name, or replace what an earlier restore wrote")
        await database.drop_collection(name)
    target = database[name]
    await target.create_index("restored_at", expireAfterSeconds=KEEP_SECONDS)
    await target.create_index("metadata.user_id")
    documents = [_document(day, row, datetime.now(UTC)) for row in rows]
    for first in range(0, len(documents), _BATCH):
        await target.insert_many(documents[first : first + _BATCH], ordered=False)
    return len(documents)


async def _is_restored(database: AsyncDatabase[Any], name: str) -> bool:
    """Whether a collection is a restored day, by its index."""
    return "restored_at_1" in await database[name].index_information()


def _document(day: date, row: DayRow, now: datetime) -> dict[str, Any]:
    return {
        "day": datetime(day.year, day.month, day.day, tzinfo=UTC),
        "restored_at": now,
        "metadata": row.key._asdict(),
        "windows": row.windows,
        "sessions": row.sessions,
        **row.aggregate.to_document(),
    }
