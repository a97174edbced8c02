"""docs/runbooks.md: a new ledger is begun on a running system as the page says, and no hour changes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pages import snippets
from pods import Pods, metrics, pods, until

from streamproc.embedded import EmbeddedServer


@pytest.fixture
async def system(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    async with pods(valkey.url, mongod.url, PREFIX="dubbing") as one:
        one.redis.flushall()
        yield one


def segment(name: str) -> dict[str, Any]:
    return {
        "segment_id": name,
        "channel_id": "kan-11",
        "session_id": "session-1",
        "user_id": "dana",
        "received_at": datetime.now(UTC),
        "extraction_ms": 45,
        "dubbing_ms": 1100,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
    }


async def test_a_new_ledger_balances_and_no_hour_changes(system: Pods) -> None:
    (command,) = snippets("docs/runbooks.md", "sh")
    worker = await system.start()
    system.publish(*(segment(f"segment-{number}") for number in range(50)))
    system.add("data", b"{}")
    await system.assert_exact()
    lose_one(system)
    await until_imbalance(worker, 1)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, **system.variables, "PATH": path}
    await asyncio.to_thread(subprocess.run, ["sh", "-c", command], env=variables, check=True)
    await until_imbalance(worker, 0)
    seen = await system.assert_exact()
    assert seen.epoch == 2
    assert (seen.ledger.counted, seen.ledger.duplicates) == (0, 0)
    (written_off,) = seen.written_off
    assert (written_off.imbalance, written_off.lost) == (1, 0)
    assert len(system.dead()) == 1


def lose_one(system: Pods) -> None:
    """A stranger deletes an entry before anybody can read it."""
    script = "redis.call('XDEL', KEYS[1], redis.call('XADD', KEYS[1], '*', 'data', '{}'))"
    system.redis.eval(script, 1, system.keys.stream)


async def until_imbalance(worker: Any, wanted: float) -> None:
    async def shown() -> bool:
        return (await metrics(worker)).get(("streamproc_ledger_imbalance", (("shard", "0"),))) == wanted

    await until(shown)
