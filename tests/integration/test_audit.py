"""The audit on real servers: whatever a stranger did to stored hours or to the stream is found, and mended."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import orjson
import pytest
from one_shard import WINDOWING, OneShard, one_shard, window

from streamproc.core.details import Detail
from streamproc.core.windows import WindowKey
from streamproc.embedded import EmbeddedServer
from streamproc.roles.auditor import Audit, Auditor, Kind
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.redis.windows import WindowStore


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        await one.store("a", "b", "c")
        yield one


async def audit(shard: OneShard, *, repair: bool = False, windows: WindowStore | None = None) -> Audit:
    return await Auditor(shard.shard, windows or shard.windows(), shard.measurements).run_once(repair=repair)


async def kinds(shard: OneShard) -> list[Kind]:
    return [finding.kind for finding in (await audit(shard)).findings]


async def replace_document(shard: OneShard, *replacements: dict[str, Any]) -> None:
    """Put these in the place of what is stored of session s-1, as somebody would who has a shell on the database."""
    collection = shard.database[COLLECTION]
    await collection.delete_many({"metadata.session_id": "s-1"})
    if replacements:
        await collection.insert_many([{k: v for k, v in one.items() if k != "_id"} for one in replacements])


async def stored(shard: OneShard) -> dict[str, Any]:
    (document,) = await shard.documents()
    return document


async def assert_repaired(shard: OneShard) -> None:
    repaired = await audit(shard, repair=True)
    assert [finding.repaired for finding in repaired.findings] == [True]
    assert repaired.clean
    again = await audit(shard)
    assert (again.findings, again.clean) == ([], True)
    assert await shard.differences() == []


async def test_a_clean_system_has_nothing_to_report(shard: OneShard) -> None:
    await shard.store("x", session="s-2")
    seen = await audit(shard)
    assert (seen.windows, seen.findings, seen.imbalance, seen.lost, seen.clean) == (2, [], 0, 0, True)


async def test_an_edited_measurement_is_found_and_repaired(shard: OneShard) -> None:
    document = await stored(shard)
    await replace_document(shard, {**document, "avg_dubbing_ms": 999.0})
    (finding,) = (await audit(shard)).findings
    assert (finding.window, finding.kind, finding.repaired) == (window(), Kind.DIFFERENT, False)
    assert finding.detail == f"avg_dubbing_ms should be {document['avg_dubbing_ms']}, is 999.0"
    await assert_repaired(shard)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("segments_processed", 2),
        ("p99_total_ms", 1.0),
        ("segments_digest", "0" * 32),
        ("source_languages", {"he": 2, "en": 1}),
        ("note", "a field of a stranger's own"),
    ],
)
async def test_any_field_that_differs_is_found(shard: OneShard, field: str, value: object) -> None:
    await replace_document(shard, {**await stored(shard), field: value})
    (finding,) = (await audit(shard)).findings
    assert (finding.kind, finding.detail.split()[0]) == (Kind.DIFFERENT, field)
    await assert_repaired(shard)


async def test_a_field_that_is_missing_is_found(shard: OneShard) -> None:
    document = await stored(shard)
    await replace_document(shard, {name: value for name, value in document.items() if name != "error_count"})
    (finding,) = (await audit(shard)).findings
    assert finding.detail == "error_count should be 0, is absent"
    await assert_repaired(shard)


async def test_a_missing_measurement_is_found_and_stored_again(shard: OneShard) -> None:
    await replace_document(shard)
    assert await kinds(shard) == [Kind.MISSING]
    await assert_repaired(shard)


async def test_a_doubled_measurement_is_found_and_becomes_one(shard: OneShard) -> None:
    document = await stored(shard)
    await replace_document(shard, document, document)
    assert await kinds(shard) == [Kind.DOUBLED]
    await assert_repaired(shard)


async def test_a_shrunk_window_is_reported_and_the_stored_hour_kept(shard: OneShard) -> None:
    shard.redis.hdel(shard.segments_key(), "b")
    for repair in (False, True):
        seen = await audit(shard, repair=repair)
        assert [(one.kind, one.detail, one.repaired) for one in seen.findings] == [
            (Kind.SHRUNK, "3 segments stored, 2 in Redis", False)
        ]
        assert not seen.clean
    assert await shard.revisions() == [3]


async def test_a_measurement_that_mongodb_refuses_is_not_called_repaired(shard: OneShard) -> None:
    key = shard.segments_key()
    fields = orjson.loads(shard.redis.hget(key, "a"))
    unencodable = [field if field != "he" else "he\0" for field in fields]  # a name in BSON ends at the first zero
    shard.redis.hset(key, "a", orjson.dumps(unencodable))
    (finding,) = (await audit(shard, repair=True)).findings
    assert (finding.kind, finding.repaired) == (Kind.DIFFERENT, False)
    assert await shard.differences() == []


async def test_only_the_windows_that_differ_are_touched(shard: OneShard) -> None:
    await shard.store("x", session="s-2")
    before = await shard.documents("s-2")
    await replace_document(shard)
    await assert_repaired(shard)
    assert await shard.documents("s-2") == before


# The ledger


async def test_an_entry_deleted_before_it_was_delivered_shows_as_imbalance(shard: OneShard) -> None:
    (entry_id,) = shard.publish_names("d")
    shard.redis.xdel(shard.keys.stream, entry_id)
    seen = await audit(shard)
    assert (seen.imbalance, seen.lost, seen.clean) == (1, 0, False)


async def test_an_entry_deleted_while_pending_shows_as_lost(shard: OneShard) -> None:
    (entry_id,) = shard.publish_names("d")
    await shard.stream("mallory").read_new(10, 0)
    shard.redis.xdel(shard.keys.stream, entry_id)
    await shard.consumer(claim_idle_ms=0).run_once()
    seen = await audit(shard)
    assert (seen.imbalance, seen.lost, seen.clean) == (0, 1, False)


async def test_entries_under_way_are_no_imbalance(shard: OneShard) -> None:
    shard.publish_names("d", "e")
    await shard.stream("slow").read_new(1, 0)
    seen = await audit(shard)
    assert seen.survey is not None
    assert (seen.survey.pending, seen.survey.undelivered) == (1, 1)
    assert (seen.imbalance, seen.clean) == (0, True)


# While the system works


async def test_a_window_that_is_open_is_not_judged(shard: OneShard) -> None:
    shard.publish_names("d")
    await shard.consume_all()
    assert shard.set_names(shard.keys.open) == ["s-1"]
    seen = await audit(shard)
    assert (seen.windows, seen.findings) == (0, [])


class Meddled(WindowStore):
    """A window store in which something happens just before, or just after, the audit first fetches details."""

    def __init__(self, shard: OneShard, meddle: Callable[[], Awaitable[object]], *, before: bool) -> None:
        super().__init__(shard.shard, WINDOWING)
        self._meddle: list[Callable[[], Awaitable[object]]] = [meddle]
        self._before = before

    async def fetch(self, windows: Sequence[WindowKey]) -> list[dict[str, Detail]]:
        meddle = self._meddle.pop() if self._meddle else None
        if meddle and self._before:
            await meddle()
        fetched = await super().fetch(windows)
        if meddle and not self._before:
            await meddle()
        return fetched


async def count_late(shard: OneShard) -> None:
    shard.publish_names("late")
    await shard.consume_all()


async def flush_late(shard: OneShard) -> None:
    await shard.store("late")


async def finish(shard: OneShard) -> None:
    """Flush what is open."""
    if shard.set_names(shard.keys.open):
        await shard.until_due()
        await shard.flusher().run_once()


@pytest.mark.parametrize("before", [True, False], ids=["before the details are read", "after"])
@pytest.mark.parametrize("meddle", [count_late, flush_late])
async def test_a_window_that_changes_meanwhile_is_not_reported(
    shard: OneShard, meddle: Callable[[OneShard], Awaitable[None]], before: bool
) -> None:
    seen = await audit(shard, repair=True, windows=Meddled(shard, lambda: meddle(shard), before=before))
    assert (seen.windows, seen.findings) == (1, [])
    await finish(shard)
    assert await shard.differences() == []
    assert (await audit(shard)).clean


# The command


class Ended(NamedTuple):
    code: int
    printed: str
    told: str


@pytest.fixture
def command(shard: OneShard, valkey: EmbeddedServer, mongod: EmbeddedServer) -> Callable[..., Awaitable[Ended]]:
    """`streamproc audit`, as a process."""
    settings = {"REDIS_URL": valkey.url, "MONGODB_URL": mongod.url, "MONGODB_DATABASE": shard.database.name}

    async def run(*arguments: str, **others: str) -> Ended:
        environment = {f"STREAMPROC_{name}": value for name, value in {**settings, **others}.items()}
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "streamproc", "audit", *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


Command = Callable[..., Awaitable[Ended]]


async def test_exit_code_is_0_where_everything_is_exact(shard: OneShard, command: Command) -> None:
    ended = await command()
    assert ended.code == 0, ended.told
    assert "imbalance 0" in ended.printed
    assert "1 closed windows recomputed, 0 findings" in ended.printed


async def test_exit_code_is_1_for_a_difference_and_0_once_it_is_repaired(shard: OneShard, command: Command) -> None:
    await replace_document(shard, {**await stored(shard), "error_count": 5})
    assert (await command()).code == 1
    repairing = await command("--repair")
    assert repairing.code == 0
    assert "different: " in repairing.printed
    assert "error_count should be 0, is 5 (repaired)" in repairing.printed
    assert (await command()).code == 0


async def test_exit_code_is_1_for_an_imbalance(shard: OneShard, command: Command) -> None:
    shard.redis.xdel(shard.keys.stream, *shard.publish_names("d"))
    ended = await command()
    assert ended.code == 1
    assert "imbalance 1" in ended.printed


async def test_what_is_missing_is_written_off_once_and_stays_on_record(shard: OneShard, command: Command) -> None:
    shard.redis.xdel(shard.keys.stream, *shard.publish_names("d"))
    ended = await command("--write-off", "an old script trimmed; d is published again")
    assert ended.code == 0, ended.told
    assert "imbalance 0" in ended.printed
    assert "imbalance 1, lost 0: an old script trimmed; d is published again" in ended.printed
    shard.publish_names("d")
    again = json.loads((await command("--write-off", "nothing is missing", "--json")).printed)
    (one,) = again["shards"][0]["written_off"]
    assert again["clean"]
    assert (one["epoch"], one["imbalance"], one["lost"]) == (1, 1, 0)
    assert again["shards"][0]["ledger"]["undelivered"] == 1


async def test_a_write_off_says_why_or_is_refused(shard: OneShard, command: Command) -> None:
    ended = await command("--write-off", " ")
    assert (ended.code, ended.printed) == (2, "")
    assert "say what was found and done" in ended.told


async def test_behind_a_long_backlog_nothing_is_written_off_and_the_remedy_is_said(
    shard: OneShard, command: Command
) -> None:
    pipeline = shard.redis.pipeline(transaction=False)
    for _ in range(20_001):
        pipeline.xadd(shard.keys.stream, {"data": "{}"})
    pipeline.execute()
    ended = await command("--write-off", "a guess")
    assert (ended.code, ended.printed) == (1, "")
    assert "Try again once workers have caught up" in ended.told


async def test_exit_code_is_1_and_one_line_says_why_where_a_server_is_away(shard: OneShard, command: Command) -> None:
    ended = await command(REDIS_URL="redis://127.0.0.1:1/0")
    assert (ended.code, ended.printed) == (1, "")
    assert ended.told.startswith("Error: the audit is not complete: ")
    assert "Traceback" not in ended.told


async def test_json_says_all_that_was_found(shard: OneShard, command: Command) -> None:
    await replace_document(shard, {**await stored(shard), "error_count": 5})
    shard.redis.xdel(shard.keys.stream, *shard.publish_names("d"))
    ended = await command("--json")
    assert ended.code == 1
    assert json.loads(ended.printed) == {
        "clean": False,
        "shards": [
            {
                "shard": 0,
                "windows": 1,
                "imbalance": 1,
                "lost": 0,
                "ledger": {
                    "entries_added": 4,
                    "counted": 3,
                    "duplicates": 0,
                    "dead_lettered": 0,
                    "erased": 0,
                    "forwarded": 0,
                    "pending": 0,
                    "undelivered": 0,
                    "lost": 0,
                },
                "written_off": [],
                "findings": [
                    {
                        **window()._asdict(),
                        "kind": "different",
                        "detail": "error_count should be 0, is 5",
                        "repaired": False,
                    }
                ],
            }
        ],
    }


async def test_json_of_a_clean_system_has_no_findings(shard: OneShard, command: Command) -> None:
    ended = await command("--json")
    printed = json.loads(ended.printed)
    assert (ended.code, printed["clean"], printed["shards"][0]["findings"]) == (0, True, [])


async def test_a_system_that_has_not_begun_is_clean(command: Command) -> None:
    ended = await command(PREFIX="unused")
    assert ended.code == 0, ended.told
    assert "no stream yet" in ended.printed
