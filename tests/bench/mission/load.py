"""Loads both options with the same segments, hour by hour, as they would have come; and compares every window."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase

from streamproc.stores.mongo.collection import ensure_collection
from streamproc.stores.mongo.measurements import MeasurementStore

from . import option_a, ours
from .data import Scale, date, segments_of
from .option import Document, Option
from .option_a import OPTION_A
from .ours import OURS

Database = AsyncDatabase[dict[str, Any]]
Tell = Callable[[str], None]

_FIGURES: Final = ("segments", "errors", "total_ms", "original_bytes", "dubbed_bytes")


async def load(database: Database, scale: Scale, tell: Tell) -> None:
    """Store `scale` in an empty database. The indexes are there before the data, and grow with it."""
    await ensure_collection(database)
    await database[OPTION_A.collection].create_indexes(list(OPTION_A.indexes))
    under_way: asyncio.Future[Any] = asyncio.gather()
    for number, start_ms in enumerate(scale.hours, 1):
        hour = await asyncio.to_thread(_hour, scale, start_ms)  # while the hour before is being stored
        await under_way
        under_way = asyncio.ensure_future(_insert(database, *hour))
        if number % 24 == 0:
            tell(f"{scale.users} users: day {number // 24} of {scale.days}")
    await under_way


def _hour(scale: Scale, start_ms: int) -> tuple[list[Document], list[Document]]:
    """An hour's documents of both options: segments in order of time, a measurement of each window."""
    rng = random.Random(start_ms)
    windows = [(key, segments_of(scale, key)) for key in scale.keys(start_ms)]
    of_users = [option_a.documents(key, segments) for key, segments in windows]
    in_order = [document for tick in zip(*of_users, strict=True) for document in tick]
    return in_order, [ours.document(key, segments, rng.getrandbits(20)) for key, segments in windows]


async def _insert(database: Database, segments: list[Document], measurements: list[Document]) -> None:
    await database[OPTION_A.collection].insert_many(segments, ordered=False)
    for refused in await MeasurementStore(database).insert(measurements):
        raise RuntimeError(f"MongoDB refused a measurement: {refused.reason}")


async def disagreeing_windows(database: Database, scale: Scale) -> int:
    """How many windows come to other figures in one option than in the other, or are missing in either."""
    found_a, found_ours = await _by_window(database, OPTION_A), await _by_window(database, OURS)
    expected = {(date(start_ms), *key[1:]) for start_ms in scale.hours for key in scale.keys(start_ms)}
    return sum(found_a.get(key) is None or found_a.get(key) != found_ours.get(key) for key in expected | set(found_a))


async def _by_window(database: Database, option: Option) -> dict[tuple[Any, ...], tuple[float, ...]]:
    cursor = await database[option.collection].aggregate(option.by_window, allowDiskUse=True)
    return {tuple(group["_id"].values()): figures_of(group) async for group in cursor}


def figures_of(group: Document) -> tuple[float, ...]:
    """The figures of a group: sums of whole numbers, so that both options agree to the last digit or not at all."""
    return tuple(group[name] for name in _FIGURES)
