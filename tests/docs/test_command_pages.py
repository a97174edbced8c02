"""Commands on pages that have no walk of their own, run as they stand on a running system."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from pages import snippets
from pods import Pods, pods, until

from streamproc.embedded import EmbeddedServer
from streamproc.stores.mongo.collection import COLLECTION

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    """A worker that has counted and stored, a day to archive, a session's document."""
    async with pods(valkey.url, mongod.url, SESSIONS_ENABLED="true") as system:
        await system.start()
        async with system.load(200):
            await until(lambda: _counted(system), system.logs)
        await system.assert_exact()
        long_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
        stored = await system.database[COLLECTION].find_one({}, {"_id": 0})
        assert stored is not None
        stored["timestamp"] = stored["metadata"]["hour"] = long_ago
        await system.database[COLLECTION].insert_one(stored)
        await system.database[system.settings.sessions_collection].insert_one({"session_id": "by hand"})
        yield system


async def _counted(system: Pods) -> bool:
    return await system.counted() > 100


@pytest.mark.parametrize(
    ("page", "which", "says"),
    [
        ("docs/archive.md", 0, "1 written of 1 days: 1 done"),
        ("docs/doctor.md", 1, "each goes by an index"),
        ("docs/sessions.md", 0, "1 documents"),
    ],
)
async def test_the_commands_of_a_page_run_as_they_stand(
    system: Pods, tmp_path: Path, page: str, which: int, says: str
) -> None:
    text = snippets(page, "sh")[which].replace("/tmp/dubbing-archive", str(tmp_path / "archive"))
    process = await asyncio.create_subprocess_exec(
        *("sh", "-ec", text),
        cwd=tmp_path,
        env={**os.environ, **system.variables, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    assert says in told.decode()
