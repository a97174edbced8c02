"""What an option takes on the disk, and how long its indexes, its dump, a scan and an erasure take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import bson

from streamproc.stores.mongo.measurements import MeasurementStore

from .data import Scale
from .load import Database
from .option import Option
from .option_a import OPTION_A
from .ours import OURS
from .results import Storage, Upkeep

_BATCH = 10_000


async def storage(database: Database, option: Option) -> Storage:
    """After a checkpoint: before it, part of what was written is in the journal and in memory alone."""
    await database.client.admin.command("fsync")
    stats = await database.command("collStats", option.stored_in)
    sample = await database[option.collection].find().to_list(1000)
    return Storage(
        documents=await database[option.collection].count_documents({}),
        document_bytes=sum(len(bson.encode(one)) for one in sample) / len(sample),
        data_bytes=stats["storageSize"],
        indexes=stats["indexSizes"],
    )


async def upkeep(database: Database, option: Option, scale: Scale) -> Upkeep:
    """Everything that is done to a whole collection, and the erasure of one user, who is gone afterwards."""
    index_build_s, _ = await _timed(_build_indexes(database, option))
    dump_s, dump_bytes = await _timed(_dump(database, option))
    scan_s, _ = await _timed(_scan(database, option))
    erase_s, erased = await _timed(_ERASE[option.name](database, scale))
    return Upkeep(index_build_s, dump_s, dump_bytes, scan_s, erase_s, erased)


async def _timed(doing: Awaitable[Any]) -> tuple[float, Any]:
    begun_s = time.perf_counter()
    result = await doing
    return time.perf_counter() - begun_s, result


async def _build_indexes(database: Database, option: Option) -> None:
    """All but the one on `_id`, from nothing. Dropping them takes no time to speak of."""
    await database[option.collection].drop_indexes()
    await database[option.collection].create_indexes(list(option.indexes))


async def _dump(database: Database, option: Option) -> int:
    """Every document as raw BSON into a file, which is what mongodump does. Returns the size of the file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "dump.bson"
        with path.open("wb") as file:
            raw: Any = database[option.stored_in].find_raw_batches(batch_size=_BATCH)
            async for batch in raw:  # bytes, whatever its type says
                file.write(batch)
        return path.stat().st_size


async def _scan(database: Database, option: Option) -> None:
    """A look at every document, for a field that no index covers."""
    nobody = {"retry_count": -1}
    found = await database[option.collection].aggregate([{"$match": nobody}, {"$count": "n"}], hint={"$natural": 1})
    await found.to_list()


async def _erase_segments(database: Database, scale: Scale) -> int:
    selected = OPTION_A.of_user(scale.user(0), scale.since_ms, scale.until_ms)
    return (await database[OPTION_A.collection].delete_many(selected)).deleted_count


async def _erase_measurements(database: Database, scale: Scale) -> int:
    return await MeasurementStore(database).erase_user(scale.user(0), scale.until_ms)


_ERASE = {OPTION_A.name: _erase_segments, OURS.name: _erase_measurements}
