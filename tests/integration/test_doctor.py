"""`streamproc doctor` as its user sees it: a healthy system, what it leaves untouched, its output and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pymongo
import pytest
from doctoring import KEY, WELL, client, prepare, report, settings_of
from pods import Pods, pods, until

from streamproc.app.checkup.diagnosis import Verdict
from streamproc.app.settings import PREFIX
from streamproc.embedded import EmbeddedServer, start_mongod, start_valkey

GREEN, YELLOW, RED, UNKNOWN = Verdict


@pytest.fixture(scope="module")
def well_valkey() -> Iterator[EmbeddedServer]:
    with start_valkey(persistent=True, extra_args=WELL) as server:
        yield server


@pytest.fixture(scope="module")
def replica_set() -> Iterator[EmbeddedServer]:
    with start_mongod(replica_set=True) as server:
        yield server


async def counted(system: Pods) -> bool:
    return await system.counted() > 0


def doctor(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    variables = {f"{PREFIX}{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "streamproc", "doctor", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=cwd, env={**os.environ, **variables}, check=False
    )


async def test_a_running_system_is_green_but_for_the_bugs_of_this_mongodb(
    well_valkey: EmbeddedServer, replica_set: EmbeddedServer
) -> None:
    async with pods(well_valkey.url, replica_set.url, ERASURE_KEY=KEY) as system:
        await system.start()
        async with system.load(200):
            await until(partial(counted, system))
        await system.assert_exact()
        found = await report(system.settings)
    not_green = {name: one.verdict for name, one in found.not_green().items()}
    disk = not_green.pop("MongoDB: disk", GREEN)  # whatever else this machine's disk holds
    assert disk in (GREEN, YELLOW, RED)
    assert not_green == {"MongoDB: known bugs": YELLOW}
    assert {one.check for section in found.sections for one in section.diagnoses} >= {"workers", "windows", "clocks"}


async def test_a_wrong_clock_is_measured_beyond_the_way_to_the_server(
    well_valkey: EmbeddedServer, replica_set: EmbeddedServer
) -> None:
    from streamproc.app.checkup.examination import this_machine_ms  # noqa: PLC0415

    settings = settings_of(well_valkey.url, replica_set.url)
    found = await report(settings, lambda: this_machine_ms() - 3000)
    assert [one.verdict for one in found.all("clocks")] == [YELLOW, YELLOW, GREEN]
    found = await report(settings, lambda: this_machine_ms() + 600_000)
    redis, mongodb, both = found.all("clocks")
    assert [redis.verdict, mongodb.verdict, both.verdict] == [RED, RED, GREEN]
    assert redis.found.startswith("Redis is 600.0 s behind this machine")
    assert "NTP" in redis.remedy


# It changes nothing


def writes_of(redis: Any) -> dict[str, int]:
    """How often each command that writes was run, in scripts or not; and how often data changed."""
    flags = {name: {str(flag) for flag in one["flags"]} for name, one in redis.command().items()}
    stats = redis.info("commandstats")
    called = {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}
    writing = {name: calls for name, calls in called.items() if "write" in flags.get(name.split("|")[0], set())}
    return {**writing, "changes": redis.info("persistence")["rdb_changes_since_last_save"], "keys": redis.dbsize()}


def state_of(mongodb: Any, database: str) -> dict[str, Any]:
    status = mongodb.admin.command("serverStatus")
    commands = status["metrics"]["commands"]
    names = ("insert", "update", "delete", "create", "createIndexes", "drop", "collMod", "findAndModify")
    return {
        "writes": {name: commands[name]["total"] for name in names},
        "databases": sorted(mongodb.list_database_names()),
        "hash": mongodb[database].command("dbHash")["md5"],
    }


@pytest.mark.parametrize("prepared", [False, True])
async def test_nothing_is_written_to_either_server(
    well_valkey: EmbeddedServer, replica_set: EmbeddedServer, prepared: bool
) -> None:
    settings = settings_of(well_valkey.url, replica_set.url, mongodb_database=f"untouched_{prepared}".lower())
    with client(well_valkey.url) as redis, pymongo.MongoClient[dict[str, Any]](replica_set.url) as mongodb:
        redis.flushall()
        if prepared:
            await prepare(settings)
            redis.xadd("dubbing:{0}:segments", {"data": "{}"})
        before = writes_of(redis), state_of(mongodb, settings.mongodb_database)
        found = await report(settings)
        assert (writes_of(redis), state_of(mongodb, settings.mongodb_database)) == before
    assert found.one("answers", "Redis").verdict == GREEN


# Output and exit codes


def test_lines_remedies_and_counts_are_plain_where_nobody_watches(
    valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str, tmp_path: Path
) -> None:
    servers = {"REDIS_URL": valkey.url, "MONGODB_URL": mongod.url, "MONGODB_DATABASE": mongo_database_name}
    ended = doctor(cwd=tmp_path, **servers, PREFIX="nobody")
    assert ended.returncode == 1  # the tests' server keeps nothing on disk
    assert ended.stderr == ""
    assert "\x1b" not in ended.stdout
    lines = ended.stdout.splitlines()
    assert f"Redis, {valkey.url}" in lines
    (number,) = [number for number, line in enumerate(lines) if line.startswith("  x red     persistence   ")]
    assert lines[number + 1].strip().startswith("-> CONFIG SET appendonly yes")
    assert lines[number + 1].index("->") == lines[number].index("append")
    words = lines[-1].replace(",", "").split()
    assert words[1::2][:3] == ["green", "yellow", "red"]
    assert int(words[0]) > 10


def test_json_is_a_list_of_findings(well_valkey: EmbeddedServer, replica_set: EmbeddedServer, tmp_path: Path) -> None:
    ended = doctor("--json", cwd=tmp_path, REDIS_URL=well_valkey.url, MONGODB_URL=replica_set.url, PREFIX="nobody")
    diagnoses = orjson.loads(ended.stdout)
    assert {tuple(one) for one in diagnoses} == {("subject", "check", "verdict", "found", "remedy")}
    assert {one["verdict"] for one in diagnoses} <= set(Verdict)
    assert all((one["remedy"] == "") == (one["verdict"] == "green") for one in diagnoses)
    red = [one for one in diagnoses if one["verdict"] == "red" and one["check"] != "disk"]
    assert red == []
    assert ended.returncode == int(any(one["verdict"] == "red" for one in diagnoses))


def test_with_both_servers_away_both_are_red_and_the_settings_are_still_checked(tmp_path: Path) -> None:
    ended = doctor(cwd=tmp_path, REDIS_URL="redis://:s3cr3t@127.0.0.1:9/0", MONGODB_URL="mongodb://127.0.0.1:9")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "-> Start Redis, or correct STREAMPROC_REDIS_URL" in ended.stdout
    assert "-> Start MongoDB, or correct STREAMPROC_MONGODB_URL" in ended.stdout
    assert "3 green, 0 yellow, 2 red" in ended.stdout
    assert "s3cr3t" not in ended.stdout


def test_a_server_that_is_away_hides_nothing_of_the_other(well_valkey: EmbeddedServer, tmp_path: Path) -> None:
    ended = doctor("--json", cwd=tmp_path, REDIS_URL=well_valkey.url, MONGODB_URL="mongodb://127.0.0.1:9")
    verdicts = {(one["subject"].split(",")[0], one["check"]): one["verdict"] for one in orjson.loads(ended.stdout)}
    assert verdicts["MongoDB", "answers"] == "red"
    assert verdicts["Redis", "answers"] == verdicts["Redis", "persistence"] == verdicts["Clocks", "clocks"] == "green"


def test_a_wrong_setting_is_bad_usage(tmp_path: Path) -> None:
    ended = doctor(cwd=tmp_path, SHARDS="0")
    assert (ended.returncode, f"{PREFIX}SHARDS" in ended.stderr) == (2, True)
