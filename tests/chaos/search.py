"""A search for a person through every byte that is stored: every key and value of Redis, every document of MongoDB,
every file of the archive.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import bson
from pyarrow import parquet
from pymongo.asynchronous.database import AsyncDatabase

from streamproc.core.windows import escape

#: How a value of each type is read. A type that is not here is an error: nothing is passed over.
_READ: dict[bytes, Any] = {
    b"string": lambda redis, key: redis.get(key),
    b"hash": lambda redis, key: list(redis.hgetall(key).items()),
    b"list": lambda redis, key: redis.lrange(key, 0, -1),
    b"set": lambda redis, key: list(redis.smembers(key)),
    b"zset": lambda redis, key: redis.zrange(key, 0, -1),
    b"stream": lambda redis, key: [list(fields.items()) for _, fields in redis.xrange(key)],
    b"none": lambda redis, key: [],  # it went between the scan and the look
}


def spellings(user: str) -> list[bytes]:
    """How an id may be written: as it is, in a key's name, in JSON, as Python shows it."""
    return [one.encode() for one in {user, escape(user), json.dumps(user)[1:-1], repr(user)[1:-1]}]


def names(user: str, stored: bytes) -> bool:
    return any(one in stored for one in spellings(user))


def in_redis(redis: Any) -> Iterator[tuple[str, bytes]]:
    """Every key, and every value under it, with the key that it is under.

    Args:
        redis: of redis.Redis, not decoding.

    Raises:
        KeyError: a type of value that is not known here.
    """
    for key in redis.scan_iter(count=1000):
        place = key.decode(errors="replace")
        yield place, key
        for value in _flat(_READ[redis.type(key)](redis, key)):
            yield place, value


async def in_mongodb(database: AsyncDatabase[dict[str, Any]]) -> AsyncIterator[tuple[str, bytes]]:
    """Every document of every collection, the buckets under a time series among them, with the collection."""
    for name in await database.list_collection_names():
        async for document in database[name].find():
            yield f"{database.name}.{name}", bson.encode(document)


def _flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif value is not None:
        for one in value:
            yield from _flat(one)


def in_archive(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of an archive, and what Parquet holds behind its compression."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.name, path.read_bytes()
            if path.suffix == ".parquet":
                yield path.name, str(parquet.read_table(path).to_pylist()).encode()
