"""A person who publishes, whoever erases that person, and what is left."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import redis
from redis.exceptions import RedisError

from streamproc.core.details import Detail
from streamproc.core.fold import fold
from streamproc.core.windows import WindowKey
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.mongo.sessions import COLLECTION as SESSIONS

from .search import in_archive, in_mongodb, in_redis, names
from .stage import Stage

USERS: Final = ("user-0f8b2c", "דנה כהן", "a:b{c}%d", 'quo"te\\back', "user@example.com", "*[a-z]?")
_PAUSE_S: Final = 0.01
_MOST_RUNS: Final = 30


class Person:
    """Publishes segments of now, broken events, and texts of which nobody can read whose they are. From `ask` on only
    what was published before, again and again: all of it is covered.
    """

    def __init__(self, stage: Stage, rng: Random) -> None:
        self.user = rng.choice(USERS)
        self._stage = stage
        self._rng = rng
        self._published: list[bytes] = []
        self._asked = False

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        ended = asyncio.Event()  # no cancellation: a driver may make something else of it
        task = asyncio.create_task(self._publish(ended))
        try:
            yield
        finally:
            ended.set()
            await task

    def ask(self) -> None:
        """To be erased."""
        self._asked = True

    async def add(self, payload: bytes) -> None:
        """Add an entry, unless Redis is away."""
        stream = f"{self._stage.settings.prefix}:{{0}}:segments"
        try:
            await self._stage.proxied_client.execute_command("XADD", stream, "*", "data", payload)
        except RedisError:
            await asyncio.sleep(_PAUSE_S)

    def segment(self, name: str, at: datetime, **fields: Any) -> bytes:
        ids = {"segment_id": name, "channel_id": "kan-11", "session_id": "session-of-the-person", "user_id": self.user}
        times = {"extraction_ms": 1, "dubbing_ms": 2, "reinsertion_ms": 3, "received_at": at.isoformat()}
        languages = {"source_language": "he", "target_language": "en"}
        return json.dumps({**ids, **times, **languages, **fields}, ensure_ascii=self._rng.random() < 0.5).encode()

    async def documents(self) -> list[dict[str, Any]]:
        """What is stored of the person."""
        return [one for one in await self._stage.documents() if one["metadata"]["user_id"] == self.user]

    async def prepare(self) -> None:
        """What there is of the person from before: a session, as another has one; and a day in the archive."""
        await self._start_session()
        day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=5)
        window = WindowKey(int(day.timestamp()) * 1000, "kan-11", "session-of-the-person", self.user)
        detail = Detail(window.start_ms * 1000, 1, 2, 3, 6, 0, 0, "he", "en")
        database = self._stage.mongo_client[self._stage.settings.mongodb_database]
        await database[COLLECTION].insert_one(fold(window, {"a": detail}).document(1))
        code, _, told = await self._stage.command("archive", "run", "--day", day.date().isoformat())
        if code:
            raise RuntimeError(f"streamproc archive run ended with {code}: {told}")

    async def _start_session(self) -> None:
        started = datetime.now(UTC) - timedelta(minutes=1)
        database = self._stage.mongo_client[self._stage.settings.mongodb_database]
        documents: list[dict[str, Any]] = [
            {"session_id": f"session-{number}", "user_id": user, "started_at": started}
            for number, user in enumerate((self.user, "somebody else"))
        ]
        await database[SESSIONS].insert_many(documents)

    async def _publish(self, ended: asyncio.Event) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            await self.add(self._rng.choice(self._published) if self._asked else self._new(number))
            await asyncio.sleep(_PAUSE_S)

    def _new(self, number: int) -> bytes:
        now = datetime.now(UTC)
        match number % 20:
            case 3:
                return f"of {self.user} nothing can be read".encode()
            case 7:
                payload = self.segment(f"s-{number}", now, dubbing_ms=-1)
            case _:
                payload = self.segment(f"s-{number}", now)
        self._published.append(payload)
        return payload


class Officer:
    """Runs `streamproc erase` about one person, until it says that it is complete.

    Attributes:
        runs: how often it had to be run.
        dies_after_s: kill the first run after this time.
    """

    def __init__(self, stage: Stage, user: str) -> None:
        self.runs = 0
        self.dies_after_s: float | None = None
        self._stage = stage
        self._user = user
        self._said = b""

    async def erase(self) -> dict[str, Any]:
        """The receipt. Raises TimeoutError where it is never complete."""
        while self.runs < _MOST_RUNS:
            code, printed = await self._run()
            if code == 0:
                receipt: dict[str, Any] = json.loads(printed)
                return receipt
            await asyncio.sleep(0.2)
        raise TimeoutError(f"not complete after {self.runs} runs: {self._said.decode()[-2000:]}")

    async def is_verified(self) -> bool:
        """Whether `--verify` finds nothing, in any layer."""
        code, printed = await self._run("--verify")
        return code == 0 and json.loads(printed)["verified"] is True

    async def receipts(self) -> list[dict[str, Any]]:
        """As they are stored."""
        database = self._stage.mongo_client[self._stage.settings.mongodb_database]
        return [one async for one in database["erasures"].find()]

    def named_the_person(self) -> bool:
        return names(self._user, self._said)

    async def _run(self, *options: str) -> tuple[int | None, bytes]:
        self.runs += not options
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamproc", "erase", "--user", self._user, "--json", *options),
            env={**os.environ, **self._stage.variables},
            stdout=PIPE,
            stderr=PIPE,
        )
        if self.dies_after_s is not None:
            await self._let_die(process, self.dies_after_s)
        printed, errors = await process.communicate()
        self._said += printed + errors
        return process.returncode, printed

    async def _let_die(self, process: Process, after_s: float) -> None:
        self.dies_after_s = None
        await asyncio.sleep(after_s)
        if process.returncode is None:
            process.kill()


async def traces(stage: Stage, user: str) -> list[str]:
    """Where the person's id is to be found, in any byte that the servers and the archive hold."""
    with redis.Redis.from_url(stage.redis.url) as client:
        databases = [int(name.removeprefix("db")) for name in client.info("keyspace")]
        found = [place for place, one in in_redis(client) if names(user, one)]
    assert databases in ([], [0]), databases
    for name in await stage.mongo_client.list_database_names():
        found += [place async for place, one in in_mongodb(stage.mongo_client[name]) if names(user, one)]
    archive = Path(stage.settings.archive_url.removeprefix("file://"))
    return found + [place for place, one in in_archive(archive) if names(user, one)]


def is_measurement(document: dict[str, Any], start: datetime, segments: int) -> bool:
    """Whether it is the one of a window, with so many segments."""
    return bool(document["timestamp"] == start and document["segments_processed"] == segments)
