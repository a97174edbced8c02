"""`streamproc segments`, `hourly`, `trends`, `user`: what they print, where, and how they end."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import pytest
from answering import service_of
from one_shard import HOUR, OneShard, one_shard, segment

from streamproc.embedded import EmbeddedServer

NOWHERE = "127.0.0.1:9"


class Ran(NamedTuple):
    code: int | None
    out: str
    err: str


class Shell:
    """Runs commands with the settings of one shard."""

    def __init__(self, shard: OneShard, redis_url: str, mongodb_url: str) -> None:
        self.shard = shard
        self.variables = {
            "STREAMPROC_REDIS_URL": redis_url,
            "STREAMPROC_MONGODB_URL": mongodb_url,
            "STREAMPROC_MONGODB_DATABASE": shard.database.name,
        }

    async def run(self, *arguments: str, **variables: str) -> Ran:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamproc", *arguments),
            env={**self.variables, **variables, "PYTHONIOENCODING": "utf-8"},
            stdout=PIPE,
            stderr=PIPE,
        )
        out, err = await process.communicate()
        return Ran(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def shell(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[Shell]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as shard:
        await shard.store("a", "b")
        now = datetime.fromtimestamp(time.time() - 2, UTC)
        shard.publish(segment("c", received_at=now, error="codec [bold]", session="s-[x]"))
        await shard.consume_all()
        yield Shell(shard, valkey.url, mongod.url)


EVERY = (
    ("segments", "kan-11"),
    ("hourly", "kan-11"),
    ("hourly", "--session", "s-1"),
    ("trends", "kan-11"),
    ("user", "dana"),
)


async def test_hours_are_a_table_with_units_and_states(shell: Shell) -> None:
    ran = await shell.run("hourly", "kan-11")
    title, heading, stored, present, *rest = ran.out.splitlines()
    assert (ran.code, ran.err, rest) == (0, "", [])
    assert title.split() == ["channel", "kan-11,", "hours", "in", "UTC"]
    names = {name.strip() for name in heading.split("  ")}
    assert {"hour", "segments", "errors", "err %", "avg ms", "p95 ms", "GB", "sessions"} <= names
    assert stored.split()[:4] == [f"{HOUR:%Y-%m-%d}", f"{HOUR:%H:%M}", "2", "0"]
    assert present.split()[2:5] == ["1", "1", "100.0"]
    assert present.split()[-1] == "rolling"


async def test_segments_show_each_with_its_error_and_ids_as_they_are(shell: Shell) -> None:
    ran = await shell.run("segments", "kan-11")
    title, _, line = ran.out.splitlines()
    assert "last 5 min in UTC: 1 segments" in title
    assert "1,201" in line
    assert "codec [bold]" in line
    assert "s-[x]" in line


async def test_user_ends_with_the_total_for_the_bill(shell: Shell) -> None:
    last = (await shell.run("user", "dana")).out.splitlines()[-1].split()
    assert last[:3] == ["total", f"{3 / 240:.2f}", "3"]


async def test_a_session_shows_its_channel_and_user(shell: Shell) -> None:
    line = (await shell.run("hourly", "--session", "s-1")).out.splitlines()[2]
    assert line.split()[-2:] == ["kan-11", "dana"]


async def test_json_is_what_the_service_answers(shell: Shell) -> None:
    ran = await shell.run("trends", "kan-11", "--days", "3", "--tz", "Asia/Jerusalem", "--json")
    found = json.loads(ran.out)
    asked = service_of(shell.shard)
    answer = json.loads(msgspec.json.encode(await asked.get_daily_trends("kan-11", 3, "Asia/Jerusalem")))
    found.pop("to")
    answer.pop("to")
    assert found == answer


@pytest.mark.parametrize("arguments", EVERY, ids=" ".join)
async def test_csv_has_a_line_for_each_row_of_the_json(shell: Shell, arguments: tuple[str, ...]) -> None:
    found = json.loads((await shell.run(*arguments, "--json")).out)
    lines = list(csv.DictReader((await shell.run(*arguments, "--csv")).out.splitlines()))
    rows: list[Any] = found.get("segments") or found.get("hours") or found.get("days")
    assert len(lines) == len(rows) > 0
    for line, row in zip(lines, rows, strict=True):
        assert set(row) <= set(line)
        for name in ("segment_id", "segments", "errors", "state"):
            assert name not in row or line[name] == str(row[name])


@pytest.mark.parametrize("arguments", EVERY, ids=" ".join)
async def test_with_one_server_away_the_rest_is_printed_and_what_is_missing_told(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    without_redis = await shell.run(*arguments, STREAMPROC_REDIS_URL=f"redis://:hidden@{NOWHERE}/0")
    assert "missing is what redis holds: nothing listens there (connection refused)" in without_redis.err
    without_mongodb = await shell.run(*arguments, STREAMPROC_MONGODB_URL=f"mongodb://u:hidden@{NOWHERE}")
    if arguments[0] == "segments":
        assert (without_redis.code, without_redis.out) == (1, "")
        assert (without_mongodb.code, without_mongodb.err) == (0, "")
    else:
        assert (without_redis.code, without_mongodb.code) == (0, 0)
        assert "missing is what mongodb holds" in without_mongodb.err
    for ran in (without_redis, without_mongodb):
        assert "hidden" not in ran.out + ran.err
        assert "Traceback" not in ran.err


async def test_with_both_away_nothing_is_answered(shell: Shell) -> None:
    gone = {"STREAMPROC_REDIS_URL": f"redis://{NOWHERE}/0", "STREAMPROC_MONGODB_URL": f"mongodb://{NOWHERE}"}
    ran = await shell.run("hourly", "kan-11", **gone)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (1, "", 2)
    ran = await shell.run("hourly", "kan-11", "--json", **gone)
    assert (ran.code, [one["layer"] for one in json.loads(ran.out)["missing"]]) == (1, ["redis", "mongodb"])


async def test_what_nobody_knows_is_no_failure(shell: Shell) -> None:
    ran = await shell.run("trends", "nobody")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "no segments in that time")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hourly",), "name either a CHANNEL, or a session with --session"),
        (("hourly", "kan-11", "--session", "s-1"), "name either a CHANNEL, or a session with --session"),
        (("hourly", "kan-11", "--hours", "2161"), "1<=x<=2160"),
        (("segments", "kan-11", "--minutes", "0"), "1<=x<=1440"),
        (("trends", "kan-11", "--tz", "Mars"), "tz must be the name of a time zone"),
        (("user", ""), "user_id must have 1 to 128 printable characters"),
    ],
)
async def test_wrong_usage_is_told_with_what_is_allowed(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    ran = await shell.run(*arguments)
    assert ran.code == 2
    assert said in ran.err


async def test_settings_that_are_not_those_of_the_data_are_refused(shell: Shell) -> None:
    await shell.shard.shard.agree_on_layout(shards=1, window_ms=3_600_000)
    ran = await shell.run("hourly", "kan-11", STREAMPROC_SHARDS="4")
    assert ran.code == 1
    assert "was made with shards 1, and here it is 4" in ran.err
