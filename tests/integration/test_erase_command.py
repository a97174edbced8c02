"""`streamproc erase` as an officer runs it: against running workers, interrupted, refused, verified."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
import pytest
from click.testing import CliRunner
from erasing import traces
from pods import Pods, outcome, pods, until
from time_series import measurement

from streamproc.app.settings import PREFIX
from streamproc.cli.main import cli
from streamproc.core.windows import WindowKey
from streamproc.embedded import EmbeddedServer, start_mongod
from streamproc.stores.mongo.erasures import COLLECTION
from streamproc.stores.mongo.measurements import MeasurementStore

KEY = "a key of more than sixteen characters"
#: With windows of two seconds, five minutes of tolerance would be a hundred and fifty windows ahead.
SETTINGS = {"FUTURE_TOLERANCE_SECONDS": "1", "FLUSH_VISIBILITY_SECONDS": "0.3", "ERASURE_KEY": KEY}


class Ended(NamedTuple):
    code: int
    out: str
    log: str

    @property
    def receipt(self) -> dict[str, Any]:
        receipt: dict[str, Any] = orjson.loads(self.out)
        return receipt


class Officer:
    """Runs commands against a system, about one person."""

    def __init__(self, system: Pods) -> None:
        self.system = system
        self.user = f"dana-{uuid4().hex}"

    async def start(self, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
        own = {f"{PREFIX}{name}": value for name, value in variables.items()}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamproc", *arguments),
            env={**os.environ, **self.system.variables, **own},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str, **variables: str) -> Ended:
        process = await self.start(*arguments, **variables)
        out, log = await outcome(process)
        assert process.returncode is not None
        assert self.user not in log.decode()
        return Ended(process.returncode, out.decode(), log.decode())

    async def erase(self, *options: str, **variables: str) -> Ended:
        return await self.run("erase", "--user", self.user, *options, **variables)

    def segment(self, name: str, at: datetime) -> bytes:
        fields = {"segment_id": name, "channel_id": "kan-11", "session_id": f"session-of-{self.user}"}
        times = {"extraction_ms": 1, "dubbing_ms": 2, "reinsertion_ms": 3}
        languages = {"source_language": "he", "target_language": "en"}
        return orjson.dumps({**fields, **times, **languages, "user_id": self.user, "received_at": at})

    @asynccontextmanager
    async def person_publishes(self) -> AsyncIterator[datetime]:
        """Segments of the first second, again and again, some malformed. Yields when that was."""
        began, number = datetime.now(UTC), 0

        async def publish() -> None:
            nonlocal number
            while True:
                number += 1
                self.system.add("data", self.segment(f"s-{number % 70}", began + timedelta(milliseconds=number % 1000)))
                self.system.add("data", self.segment("", began))
                await asyncio.sleep(0.01)

        task = asyncio.create_task(publish())
        try:
            yield began
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def traces(self) -> list[bytes]:
        return await traces(self.user, self.system.redis, self.system.database)

    async def erasures(self) -> list[dict[str, Any]]:
        return [one async for one in self.system.database[COLLECTION].find()]


@pytest.fixture
async def officer(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Officer]:
    async with pods(valkey.url, mongod.url, **SETTINGS) as system:
        yield Officer(system)


async def test_a_person_is_erased_while_workers_run_at_full_speed(officer: Officer) -> None:
    system = officer.system
    for _ in range(2):
        await system.start(FLUSH_VISIBILITY_SECONDS="2")
    async with system.load():
        async with officer.person_publishes() as began:
            await until(lambda: _stored(officer))
            ended = await officer.erase("--json", FLUSH_VISIBILITY_SECONDS="2")
            assert (ended.code, ended.receipt["state"]) == (0, "complete"), ended.log
        verified = await officer.erase("--verify", "--json")
        assert (verified.code, verified.receipt["verified"]) == (0, True), verified.out
        assert verified.receipt["erasure"] == ended.receipt["erasure"]
        assert await officer.traces() == []
        later = datetime.fromisoformat(ended.receipt["covers_windows_until"])
        await until(lambda: _is_past(later))
        system.add("data", officer.segment("later", later))
    seen = await system.settle()
    assert seen.ledger.imbalance() == 0
    assert seen.ledger.erased > 0
    stored = [one for one in await system.documents() if one["metadata"]["user_id"] == officer.user]
    assert [one["timestamp"] for one in stored] == [later]
    assert began < later
    others = [one for one in await system.documents() if one["metadata"]["user_id"] != officer.user]
    assert system.oracle.compare(others) == []
    assert officer.user not in system.logs()
    receipt = ended.receipt
    assert (
        min(receipt["timeseries_docs_deleted"], receipt["redis_segments_deleted"], receipt["dead_letters_deleted"]) > 0
    )


async def _stored(officer: Officer) -> bool:
    return any(one["metadata"]["user_id"] == officer.user for one in await officer.system.documents())


async def _is_past(moment: datetime) -> bool:
    return datetime.now(UTC) > moment


async def test_verify_finds_what_came_back_and_deletes_nothing(officer: Officer) -> None:
    await officer.system.start()
    assert (await officer.erase()).code == 0
    start_ms = int(datetime.now(UTC).timestamp()) // 2 * 2000 - 60_000
    window = WindowKey(start_ms, "kan-11", "s-1", officer.user)
    await MeasurementStore(officer.system.database).insert([measurement(window)])
    for _ in range(2):
        ended = await officer.erase("--verify", "--json")
        assert (ended.code, ended.receipt["found"]) == (1, {"measurements": {"documents": 1}})
    assert (await officer.erase("--verify")).out.endswith("measurements: 1 documents\n")
    assert len(await officer.erasures()) == 1
    assert (await officer.erase()).code == 0
    assert (await officer.erase("--verify")).code == 0


async def test_verify_of_a_person_who_was_never_erased_erases_first(officer: Officer) -> None:
    await officer.system.start()
    ended = await officer.erase("--verify", "--json")
    assert (ended.code, ended.receipt["state"], ended.receipt["verified"]) == (0, "complete", True)


async def test_an_interrupted_erasure_is_completed_by_the_next_run(officer: Officer) -> None:
    assert (await officer.run("init")).code == 0
    await _interrupt(officer)
    assert (await officer.erase()).code == 0
    assert ["completed_at" in one for one in await officer.erasures()] == [True, True]


async def test_an_interrupted_erasure_is_completed_by_a_worker(officer: Officer) -> None:
    assert (await officer.run("init")).code == 0
    await _interrupt(officer)
    await officer.system.start()

    async def completed() -> bool:
        (one,) = await officer.erasures()
        return "completed_at" in one

    await until(completed, officer.system.logs)


async def _interrupt(officer: Officer) -> None:
    """An erasure that is killed between its passes."""
    await _send(officer, signal.SIGKILL)
    assert ["completed_at" in one for one in await officer.erasures()] == [False]


async def test_ctrl_c_leaves_with_130(officer: Officer) -> None:
    assert (await officer.run("init")).code == 0
    assert await _send(officer, signal.SIGINT) == 130


async def _send(officer: Officer, number: int) -> int | None:
    """Send a signal to an erasure that waits for its second pass. Returns the exit code."""
    process = await officer.start("erase", "--user", officer.user, FLUSH_VISIBILITY_SECONDS="60")

    async def between() -> bool:
        return any("first_pass_at" in one for one in await officer.erasures())

    await until(between)
    process.send_signal(number)
    await outcome(process)
    return process.returncode


# What is away


async def test_redis_away_is_incomplete(officer: Officer) -> None:
    ended = await officer.erase("--json", REDIS_URL="redis://127.0.0.1:1/0")
    assert (ended.code, ended.receipt["state"], list(ended.receipt["trouble"])) == (1, "incomplete", ["redis"])


async def test_mongodb_away_is_incomplete_and_back_complete(valkey: EmbeddedServer) -> None:
    with start_mongod() as server:
        async with pods(valkey.url, f"{server.url}?serverSelectionTimeoutMS=500", **SETTINGS) as system:
            officer = Officer(system)
            assert (await officer.run("init")).code == 0
            os.kill(server.pid, signal.SIGKILL)
            ended = await officer.erase("--json")
            assert (ended.code, ended.receipt["state"], list(ended.receipt["trouble"])) == (
                1,
                "incomplete",
                ["mongodb"],
            )
            assert "run it again" in ended.log
            server.restart()
            assert (await officer.erase("--json")).receipt["state"] == "complete"


# The key


def test_without_a_key_it_says_how_to_make_one() -> None:
    result = CliRunner().invoke(cli, ["erase", "--user", "dana"], env={f"{PREFIX}ERASURE_KEY": ""})
    assert result.exit_code == 2
    assert "STREAMPROC_ERASURE_KEY is not set" in result.output
    assert "secrets.token_urlsafe(32)" in result.output


def test_a_key_that_can_be_guessed_is_refused_and_not_repeated() -> None:
    result = CliRunner().invoke(cli, ["erase", "--user", "dana"], env={f"{PREFIX}ERASURE_KEY": "s3cr3t"})
    assert result.exit_code == 2
    assert "STREAMPROC_ERASURE_KEY: must have at least 16 characters" in result.output
    assert "s3cr3t" not in result.output


@pytest.mark.parametrize("arguments", [[], ["--user", ""]])
def test_without_a_user_it_is_bad_usage(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, ["erase", *arguments])
    assert (result.exit_code, "--user" in result.output) == (2, True)


async def test_where_workers_have_no_key_nothing_is_erased(officer: Officer) -> None:
    await officer.system.start(ERASURE_KEY="")
    ended = await officer.erase()
    assert ended.code == 1
    assert "no worker with an ERASURE_KEY" in ended.log
    assert await officer.erasures() == []


async def test_where_workers_have_another_key_nothing_is_erased(officer: Officer) -> None:
    await officer.system.start()
    ended = await officer.erase(ERASURE_KEY="another key of many characters")
    assert ended.code == 1
    assert "another ERASURE_KEY" in ended.log
    assert await officer.erasures() == []


@pytest.mark.parametrize(("key", "found"), [("", "no"), (KEY[::-1], "another")], ids=["none", "another"])
async def test_a_worker_that_would_not_recognise_the_erased_says_so_and_ends(
    officer: Officer, key: str, found: str
) -> None:
    assert (await officer.run("init")).code == 0
    ended = await officer.run("worker", "--port", "0", ERASURE_KEY=key)
    assert ended.code == 1
    assert f"this process has {found} ERASURE_KEY" in ended.log
    assert "Give it the ERASURE_KEY of the others" in ended.log


async def test_workers_that_ran_without_a_key_go_on_with_one(officer: Officer) -> None:
    """A layout that was written before there were keys takes the first."""
    first = await officer.system.start(ERASURE_KEY="")
    assert officer.system.redis.hget(officer.system.keys.layout, "erasure_key") is None
    await first.stop()
    await officer.system.start()
    assert (await officer.erase()).code == 0
