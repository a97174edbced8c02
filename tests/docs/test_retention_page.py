"""docs/retention.md: what is said to be kept is what there is, for as long as is said; its snippets run.

Where each field goes is found out with a worker process, by a search through every byte that the servers hold, the log
and the metrics.
"""

from __future__ import annotations

import ast
import asyncio
import io
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from types import FunctionType
from typing import Any

import bson
import orjson
import pytest
import pytest_asyncio
from pages import ROOT, names, section, snippets, table
from pods import Pods, get, pods, until

from streamproc.app.settings import PREFIX, Settings
from streamproc.core.erasures import ask
from streamproc.core.windows import Windowing
from streamproc.embedded import EmbeddedServer
from streamproc.stores.archive.objects import RETENTION_DAYS
from streamproc.stores.mongo.collection import COLLECTION, EXPIRE_AFTER_SECONDS
from streamproc.stores.mongo.erasures import COLLECTION as ERASURES
from streamproc.stores.mongo.restored import KEEP_SECONDS
from streamproc.stores.redis.behind import _KEPT_MS as KEPT_BEHIND_MS
from streamproc.stores.redis.presence import SILENT_MS

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = "docs/retention.md"
KEPT = "What is kept, and for how long"
KEY = "a key of more than sixteen characters"
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400, "year": 365 * 86_400}
_BY = {"the collection's `expireAfterSeconds`": EXPIRE_AFTER_SECONDS}


def kept() -> dict[str, list[str]]:
    """The rows of the table, by what is kept."""
    return {row[0]: row for row in table(section(PAGE, KEPT))}


def seconds(words: str) -> int:
    """The first duration in a text."""
    match = re.search(r"(\d+) (minute|hour|day|year)s?\b", words)
    assert match, words
    return int(match[1]) * _SECONDS[match[2]]


# The table


async def test_how_long_each_thing_is_kept_is_what_the_settings_say() -> None:
    compared = 0
    for what, _, _, kept_for, by in kept().values():
        setting = by.strip("`").removeprefix(PREFIX).lower()
        if setting in Settings.model_fields:
            assert seconds(kept_for) == Settings.model_fields[setting].default, what
            compared += 1
        elif by in _BY:
            assert seconds(kept_for) == _BY[by], what
            compared += 1
    assert compared == 4
    tolerance = Settings.model_fields["future_tolerance_seconds"].default
    assert f"and {tolerance // 60} minutes: `{PREFIX}FUTURE_TOLERANCE_SECONDS`" in kept()["segments in detail"][3]
    assert seconds(kept()["what pods say of themselves"][3]) == SILENT_MS / 1000
    assert seconds(kept()["sessions whose documents are to be brought up to date"][3]) == KEPT_BEHIND_MS / 1000
    assert seconds(kept()["a day brought back from the archive"][3]) == KEEP_SECONDS
    assert f"({RETENTION_DAYS} days)" in kept()["days of the archive"][3]


async def test_an_encrypted_id_is_kept_for_as_long_as_the_page_says() -> None:
    one = ask("", "", b"", 0, Windowing(), EXPIRE_AFTER_SECONDS * 1000)
    assert f"{one.keep_until_ms // 86_400_000} days" in kept()["erasures and their receipts"][2]


async def test_every_key_of_redis_is_in_the_table_once() -> None:
    said = [key for row in kept().values() for key in re.findall(r"`(dubbing:\{s\}[^`]*)`", row[1])]
    assert sorted(said) == sorted(names("docs/formats.md", "Redis keys"))


async def test_the_policy_s_numbers_are_those_of_the_table() -> None:
    policy = section(PAGE, "For a privacy policy")
    assert f"after {seconds(kept()['dead letters'][3]) // 86_400} days" in policy
    assert f"after {seconds(kept()['stored hours'][3]) // 86_400 + 1} days" in policy
    assert f"for {seconds(kept()['days of the archive'][3]) // 86_400 // 365} years" in " ".join(
        policy.replace(">", "").split()
    )


# With a worker


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    """One worker; entries are trimmed, and details forgotten, only when a test has seen them."""
    own = {"PREFIX": "dubbing", "MONGODB_DATABASE": "dubbing", "ERASURE_KEY": KEY, "FUTURE_TOLERANCE_SECONDS": "1"}
    async with pods(valkey.url, mongod.url, FLUSH_VISIBILITY_SECONDS="0.3", LOG_LEVEL="debug", **own) as one:
        one.redis.flushall()
        await one.start()
        yield one
        one.redis.flushall()
        await one._mongo.drop_database("dubbing")


EMAIL = "dana.cohen@example.com"
#: The value of each field is found nowhere else.
FIELDS = {
    "user_id": "user-of-the-search",
    "session_id": "session-of-the-search",
    "channel_id": "channel-of-the-search",
    "segment_id": "segment-of-the-search",
    "platform": "platform-of-the-search",
    "source_language": "xx-source",
    "target_language": "xx-target",
    "error": "error-of-the-search",
    "any other": EMAIL,
}


def event(**fields: Any) -> bytes:
    known = {name: value for name, value in FIELDS.items() if name != "any other"}
    times = {"extraction_ms": 1, "dubbing_ms": 2, "reinsertion_ms": 3, "received_at": datetime.now(UTC)}
    return orjson.dumps({**known, **times, "e_mail": EMAIL, "viewer": {"contact": EMAIL}, **fields})


def in_redis(system: Pods) -> dict[str, bytes]:
    """All that Redis holds of this system, by the part of a key's name that says what it is."""
    held: dict[str, bytes] = {}
    for key in system.redis.scan_iter(match=f"{system.settings.prefix}:*"):
        kind = key.decode().split("}:", 1)[-1].partition(":")[0]
        held[kind] = held.get(kind, b"") + key + repr(_value(system.redis, key)).encode()
    return held


def _value(redis: Any, key: bytes) -> Any:
    match redis.type(key):
        case b"stream":
            return redis.xrange(key)
        case b"hash":
            return redis.hgetall(key)
        case b"set":
            return redis.smembers(key)
        case b"zset":
            return redis.zrange(key, 0, -1, withscores=True)
        case _:
            return redis.get(key)


async def in_mongodb(system: Pods) -> dict[str, bytes]:
    """All that MongoDB holds, by collection; the buckets under the time series are one of them."""
    held = {}
    for name in await system.database.list_collection_names():
        held[name] = b"".join([bson.encode(one) async for one in system.database[name].find()])
    return held


async def told(system: Pods) -> bytes:
    """Every worker's log, and what it serves."""
    pages = [(await get(one, path))[1] for one in system.workers for path in ("/metrics", "/readyz", "/healthz")]
    return "".join([*(one.log_tail(100_000) for one in system.workers), *pages]).encode()


def found_in(held: bytes) -> set[str]:
    return {name for name, value in FIELDS.items() if value.encode() in held}


async def test_each_field_is_where_the_page_says_and_nowhere_else(system: Pods) -> None:
    system.add("data", event())
    system.add("data", event(dubbing_ms=-1))
    await system.settle()
    redis, mongodb, words = in_redis(system), await in_mongodb(system), await told(system)
    detail = b"".join(redis.pop(kind) for kind in ("segment", "user", "channel", "closed"))
    stored = mongodb.pop(COLLECTION) + mongodb.pop(f"system.buckets.{COLLECTION}")
    places = [redis.pop("segments"), detail, stored, words]
    rows = table(section(PAGE, "Which field lives where"))
    assert [row[0].strip("`") for row in rows] == list(FIELDS)
    for name, *cells in rows:
        value = FIELDS[name.strip("`")].encode()
        assert ["yes" if value in place else "no" for place in places] == cells, name
    assert found_in(redis.pop("dead")) == set(FIELDS)  # as it came, for whoever mends it
    assert found_in(redis.pop("pods")) <= {"channel_id"}
    assert found_in(b"".join([*redis.values(), *mongodb.values()])) == set()
    assert set(mongodb) <= {"system.views", ERASURES}


async def test_once_its_entry_is_trimmed_an_unknown_field_is_nowhere(
    valkey: EmbeddedServer, mongod: EmbeddedServer
) -> None:
    own = {"STREAM_RETENTION_SECONDS": "0.2", "DEAD_LETTER_RETENTION_SECONDS": "0.2", "LOG_LEVEL": "debug"}
    async with pods(valkey.url, mongod.url, **own) as system:
        await system.start()
        for unlike in ({}, {"segment_id": ""}, {"user_id": 5}):
            system.add("data", event(**unlike))
        system.add("user_id", "of fields", "e_mail", EMAIL)
        system.add("data", f"nothing that can be read of {EMAIL}")
        await system.settle()
        assert (await system.counted(), EMAIL.encode() in b"".join(in_redis(system).values())) == (1, True)

        async def trimmed() -> bool:
            return not (system.redis.xlen(system.keys.stream) or system.redis.xlen(system.keys.dead))

        await until(trimmed, system.logs)
        everything = [*in_redis(system).values(), *(await in_mongodb(system)).values(), await told(system)]
        assert FIELDS["user_id"].encode() in b"".join(everything)
        assert EMAIL.encode() not in b"".join(everything)


# Snippets


class Reader:
    """Types in what the page shows."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.variables = variables
        self._names: dict[str, Any] = {}

    async def python(self, number: int) -> str:
        code = compile(snippets(PAGE, "python")[number], PAGE, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with redirect_stdout(io.StringIO()) as out:
            await FunctionType(code, self._names)()
        return out.getvalue()

    async def shell(self, number: int) -> tuple[int | None, str]:
        words = shlex.split(snippets(PAGE, "sh")[number])
        assert words.pop(0) == "streamproc"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamproc", *words),
            env={"PYTHONPATH": str(ROOT), **self.variables},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    async def close(self) -> None:
        await self._names["redis"].aclose()
        await self._names["mongodb"].close()


async def test_the_snippets_erase_and_change_the_key(system: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in system.variables.items():
        monkeypatch.setenv(name, value)
    reader = Reader(dict(os.environ))
    for number in range(3):
        system.add("data", event(user_id="user-17", segment_id=str(number), received_at=datetime.now(UTC)))
    await system.settle()
    code, receipt = await reader.shell(0)
    assert code == 0
    assert re.search(r"redis_segments_deleted +3\n", receipt)
    assert await reader.python(0) == "under way 0 0\n"
    assert await reader.python(1) == "0\n"

    async def finished() -> bool:
        return await system.database[ERASURES].count_documents({"completed_at": None}) == 0

    await until(finished, system.logs)
    await system.workers[0].stop()
    await reader.python(2)
    await reader.close()
    worker = await system.start(ERASURE_KEY=KEY[::-1])
    for variables in (reader.variables, system.variables):
        variables[f"{PREFIX}ERASURE_KEY"] = KEY[::-1]
    assert (await reader.shell(0))[0] == 0
    assert (await get(worker, "/readyz"))[0] == 200
