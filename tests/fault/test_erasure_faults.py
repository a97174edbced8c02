"""`streamproc erase` dies between any two steps, as a process: workers, or the next run, complete what it began."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from chaos.search import in_mongodb, in_redis, names
from pods import Pods, pods, until

from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.erasures import COLLECTION

ROOT: Final = Path(__file__).parents[2]
SETTINGS: Final = {
    "FUTURE_TOLERANCE_SECONDS": "1",
    "FLUSH_VISIBILITY_SECONDS": "0.05",
    "ERASURE_KEY": "a key of more than sixteen characters",
    "SESSIONS_ENABLED": "true",
}
_MOST_STEPS: Final = 45


@pytest.fixture
async def system(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    async with pods(valkey.url, mongod.url, **SETTINGS) as one:
        yield one


class Dying:
    """Runs erasures, each in a process that dies at a given step."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def erase(self, user: str, step: int = 0) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{step} {user}\n".encode())
        ended: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return ended


@asynccontextmanager
async def dying(system: Pods) -> AsyncIterator[Dying]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **system.variables}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).parent / "dying.py")), env=environment, stdin=PIPE, stdout=PIPE
    )
    try:
        yield Dying(process)
    finally:
        await process.communicate(b"")


async def admit(system: Pods, users: list[str]) -> None:
    """Each user has a counted segment, a dead letter, and a session; all windows are stored in the end."""
    now = datetime.now(UTC)
    for user in users:
        ids = {"channel_id": "kan-11", "session_id": f"session-{users.index(user)}", "user_id": user}
        times = {"extraction_ms": 1, "dubbing_ms": 2, "reinsertion_ms": 3, "received_at": now}
        for name in ("a", ""):
            one = {"segment_id": name, **ids, **times, "source_language": "he", "target_language": "en"}
            system.add("data", orjson.dumps(one))
    sessions = [{"session_id": user[::-1], "user_id": user, "started_at": now} for user in users]
    await system.database["live_dubbing_sessions"].insert_many(sessions)
    await system.settle()


async def traces(system: Pods) -> list[str]:
    """Where any of the users is still to be found."""
    stored = [*in_redis(system.redis), *[one async for one in in_mongodb(system.database)]]
    prefix = system.settings.prefix
    ours = [(place, one) for place, one in stored if place.startswith((prefix, system.database.name))]
    return [place for place, one in ours if names("doomed-", one)]


async def test_an_erasure_that_is_killed_between_any_two_steps_is_completed(system: Pods) -> None:
    worker = await system.start()
    users = [f"doomed-{step:02d}" for step in range(1, _MOST_STEPS)]
    await admit(system, users)
    await worker.stop()
    died_at: list[str] = []
    async with dying(system) as processes:
        for user in users:
            ended = await processes.erase(user, len(died_at) + 1)
            if ended["code"] == 0:
                break
            assert ended["code"] == -signal.SIGKILL, ended
            died_at.append(ended["at"])
        assert died_at.count("findAndModify") == 2  # what each pass found is written down
        assert {"insert", "delete", "EVALSHA", "XRANGE"} <= set(died_at)
        await system.start()

        async def completed() -> bool:
            asked = await system.database[COLLECTION].count_documents({})
            return asked > 0 and await system.database[COLLECTION].count_documents({"completed_at": None}) == 0

        await until(completed, system.logs)
        # Who died before the request was written down knows nothing of it: the officer runs it again.
        asked_for = died_at.index("insert") + 1
        for user in [*users[:asked_for], *users[len(died_at) + 1 :]]:
            assert (await processes.erase(user))["code"] == 0
    assert await traces(system) == []
