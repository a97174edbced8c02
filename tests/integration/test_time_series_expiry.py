"""MongoDB's own expiry of stored hours, watched on a server that looks every second instead of every minute.

It deletes whole buckets, when the last hour that one could take has expired; a bucket may span a day (granularity
``minutes``). So hours are kept for 90 days, and up to one more.
"""

from __future__ import annotations

import time
from typing import Any

import pymongo
from pods import until
from time_series import measurement

from streamproc.core.windows import WindowKey
from streamproc.embedded import start_mongod
from streamproc.stores.mongo.collection import COLLECTION, EXPIRE_AFTER_SECONDS, ensure_collection
from streamproc.stores.mongo.connect import connect
from streamproc.stores.mongo.measurements import MeasurementStore

HOUR_MS = 3_600_000
EXPIRED_HOURS = EXPIRE_AFTER_SECONDS // 3600 + 24


async def test_an_expired_hour_goes_and_its_neighbour_stays() -> None:
    this_hour_ms = int(time.time()) // 3600 * HOUR_MS
    with start_mongod(extra_args=["--setParameter", "ttlMonitorSleepSecs=1"]) as server:
        async with connect(server.url, app_name="tests") as client:
            database = client["expiry"]
            await ensure_collection(database)
            ages = (EXPIRED_HOURS + 24, EXPIRED_HOURS, EXPIRED_HOURS - 2, 24 * 90, 24 * 89, 1)
            windows = [WindowKey(this_hour_ms - age * HOUR_MS, "kan-11", f"{age} hours ago", "dana") for age in ages]
            await MeasurementStore(database).insert([measurement(window) for window in windows])

            async def gone() -> bool:
                return await database[COLLECTION].count_documents({}) < len(ages)

            await until(gone)
            looked = await _looks(client)

            async def looked_again() -> bool:
                return await _looks(client) >= looked + 2

            await until(looked_again)
            left = [one["metadata"]["session_id"] async for one in database[COLLECTION].find().sort("timestamp")]
    assert left == [f"{age} hours ago" for age in ages[2:]]


async def _looks(client: pymongo.AsyncMongoClient[dict[str, Any]]) -> int:
    """How often the server has looked for what has expired."""
    status = await client.admin.command("serverStatus")
    return int(status["metrics"]["ttl"]["passes"])
