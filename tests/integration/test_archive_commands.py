"""``streamproc archive``, as its user runs it, on real servers."""

from __future__ import annotations

import asyncio
import csv
import io
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import click
import orjson
import pytest
from archiving import DAY, KEY, Stage, days_ago, folder_url, key, measurement, stage
from click.testing import CliRunner

from streamproc.app.archive_watch import ArchiveWatch
from streamproc.app.archiving import make_archiving
from streamproc.cli.archive import access
from streamproc.cli.main import cli
from streamproc.core.day_rows import DayFold, day_start_ms
from streamproc.core.fold import Aggregate
from streamproc.embedded import EmbeddedServer
from streamproc.metrics import Metrics
from streamproc.stores.archive.days import file_name
from streamproc.stores.mongo.collection import COLLECTION

DOCUMENTS = [
    measurement(key(user, day=days_ago(number), channel=channel), segments=5 + number, seed=number)
    for number in (3, 4, 5)
    for user, channel in (("dana", "kan-11"), ("avi", "kan-11"), ("avi", "kan-12"))
]


@pytest.fixture(autouse=True)
def _without_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in threads here, where no signal arrives."""
    monkeypatch.setattr(access, "interruptible", asyncio.run)


@pytest.fixture
async def on(
    valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str, tmp_path: Path
) -> AsyncIterator[Stage]:
    async with stage(valkey.url, mongod.url, mongo_database_name, folder_url(tmp_path / "archive")) as made:
        await made.store(*DOCUMENTS)
        yield made


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str


async def archive(on: Stage, *arguments: str, code: int = 0, **variables: str) -> Done:
    """Run a command in this process, as `main` does, in a thread: it has an event loop of its own."""
    done = await asyncio.to_thread(_invoke, ["archive", *arguments], {**environment(on), **variables})
    assert done.code == code, f"{done}"
    return done


def _invoke(arguments: list[str], variables: dict[str, str]) -> Done:
    handlers = logging.getLogger().handlers[:]
    done = CliRunner().invoke(cli, arguments, env=variables, standalone_mode=False)
    logging.getLogger().handlers = handlers
    if isinstance(done.exception, click.ClickException):
        return Done(done.exception.exit_code, done.stdout, done.stderr + done.exception.format_message())
    if done.exception:
        raise done.exception
    return Done(done.return_value or 0, done.stdout, done.stderr)


def environment(on: Stage) -> dict[str, str]:
    return {
        "STREAMPROC_REDIS_URL": on.settings.redis_url.get_secret_value(),
        "STREAMPROC_MONGODB_URL": on.settings.mongodb_url.get_secret_value(),
        "STREAMPROC_MONGODB_DATABASE": on.settings.mongodb_database,
        "STREAMPROC_ARCHIVE_URL": on.settings.archive_url,
        "STREAMPROC_ERASURE_KEY": KEY,
    }


def data(done: Done) -> Any:
    return orjson.loads(done.stdout)


async def test_run_status_verify_tell_the_same(on: Stage, tmp_path: Path) -> None:
    due = data(await archive(on, "status", "--json"))
    assert [one["state"] for one in due["days"]] == ["due"] * 3
    assert due["days"][0]["days_until_forgotten"] == pytest.approx(85, abs=1)
    assert due["overdue"] == []

    ran = await archive(on, "run")
    assert ran.stdout.splitlines()[-1] == "3 written of 3 days: 3 done"
    assert "0 written of 3 days: 3 done" in (await archive(on, "run")).stdout
    assert "3 days archived" in (await archive(on, "status")).stdout
    assert (await archive(on, "verify")).stdout == "3 of 3 days verified\n"

    (tmp_path / "archive" / file_name(DAY)).write_bytes(b"PAR1")
    found = data(await archive(on, "verify", "--json", code=1))
    assert (found["verified"], list(found["wrong"])) == (2, [str(DAY)])
    assert "checksum" in found["wrong"][str(DAY)][0]


async def test_one_day_and_all_since(on: Stage) -> None:
    assert "1 written of 1 days" in (await archive(on, "run", "--day", str(days_ago(4)))).stdout
    assert "1 written of 2 days" in (await archive(on, "run", "--since", str(days_ago(4)))).stdout
    days = data(await archive(on, "run", "--day", str(days_ago(1)), "--json"))["days"]
    assert [(one["day"], one["state"], one["written"]) for one in days] == [(str(days_ago(1)), "waiting", False)]


async def test_questions_are_answered_from_all_days(on: Stage) -> None:
    await archive(on, "run")
    rows = data(await archive(on, "query", "--by", "user", "--json"))["rows"]
    for row in rows:
        documents = [one for one in DOCUMENTS if one["metadata"]["user_id"] == row["user_id"]]
        expected = Aggregate()
        for document in documents:
            expected = expected.merge(Aggregate.from_document(document))
        assert row["segments"] == expected.segments
        assert row["avg_total_ms"] == pytest.approx(expected.mean_ms(expected.total_us), rel=1e-12)
        for percent in (50, 95, 99):
            assert row[f"p{percent}_total_ms"] == pytest.approx(expected.quantile_ms(percent / 100), rel=1e-9)
        assert (row["min_total_ms"], row["max_total_ms"]) == (
            pytest.approx((expected.min_total_us or 0) / 1000),
            pytest.approx((expected.max_total_us or 0) / 1000),
        )
        assert (row["days"], row["windows"]) == (3, len(documents))
    assert [row["user_id"] for row in rows] == ["avi", "dana"]


async def test_forms_and_filters(on: Stage) -> None:
    await archive(on, "run")
    table = (await archive(on, "query")).stdout.splitlines()
    assert len(table) == 4
    assert table[1].startswith(str(days_ago(5)))
    of_channel = list(csv.DictReader(io.StringIO((await archive(on, "query", "--channel", "kan-12", "--csv")).stdout)))
    assert [int(row["segments"]) for row in of_channel] == [10, 9, 8]
    since = data(await archive(on, "query", "--since", str(days_ago(4)), "--by", "channel", "--json"))["rows"]
    assert [(row["channel_id"], row["days"]) for row in since] == [("kan-11", 2), ("kan-12", 2)]
    year = data(await archive(on, "query", "--by", "year", "--year", str(DAY.year), "--json"))["rows"]
    assert sum(row["segments"] for row in year) > 0
    month = data(await archive(on, "query", "--by", "month", "--user", "dana", "--json"))["rows"]
    assert sum(row["segments"] for row in month) == 10 + 9 + 8
    assert "nothing is archived of that" in (await archive(on, "query", "--user", "nobody", code=1)).stderr
    assert (
        "exclude each other" in (await archive(on, "query", "--year", "2026", "--since", "2026-01-01", code=2)).stderr
    )


async def test_a_day_is_restored_beside_the_measurements(on: Stage) -> None:
    await archive(on, "run")
    before = await on.database[COLLECTION].count_documents({})
    told = (await archive(on, "restore", "--day", str(DAY))).stdout
    name = f"restored_{DAY:%Y_%m_%d}"
    assert told == f"3 rows of {DAY} in collection {name}, for 7 days\n"
    assert await on.database[COLLECTION].count_documents({}) == before
    fold = DayFold()
    for document in DOCUMENTS:
        if document["timestamp"].date() == DAY:
            fold.add(document)
    found = [one async for one in on.database[name].find()]
    assert [one["segments_processed"] for one in found] == [row.aggregate.segments for row in fold.rows()]
    assert [one["metadata"]["user_id"] for one in found] == [row.key.user_id for row in fold.rows()]
    indexes = await on.database[name].index_information()
    assert indexes["restored_at_1"]["expireAfterSeconds"] == 604_800

    assert "exists" in (await archive(on, "restore", "--day", str(DAY), code=2)).stderr
    await archive(on, "restore", "--day", str(DAY), "--replace")
    for taken in (COLLECTION, "erasures"):
        assert (
            "not a name"
            in (await archive(on, "restore", "--day", str(DAY), "--into", taken, "--replace", code=2)).stderr
        )
    await on.database["precious"].insert_one({})
    await archive(on, "restore", "--day", str(DAY), "--into", "precious", "--replace", code=2)
    assert "is not archived" in (await archive(on, "restore", "--day", str(days_ago(40)), code=1)).stderr


async def test_what_is_missing_is_named(on: Stage, tmp_path: Path) -> None:
    assert "ARCHIVE_URL is not set" in (await archive(on, "run", STREAMPROC_ARCHIVE_URL="", code=2)).stderr
    wrong = (await archive(on, "run", STREAMPROC_ARCHIVE_URL="s3://bucket", code=2)).stderr
    assert "must be file:///absolute/folder or gs://bucket" in wrong
    away = (await archive(on, "run", STREAMPROC_ARCHIVE_URL=f"file://{tmp_path}/absent", code=1)).stderr
    assert f"mkdir -p {tmp_path}/absent" in away
    nobody = {"STREAMPROC_ARCHIVE_URL": "gs://bucket", "GOOGLE_APPLICATION_CREDENTIALS": f"{tmp_path}/no.json"}
    assert "GOOGLE_APPLICATION_CREDENTIALS" in (await archive(on, "query", code=1, **nobody)).stderr
    assert "is no day like 2026-11-22" in (await archive(on, "run", "--day", "yesterday", code=2)).stderr
    gone = await archive(
        on, "run", code=1, STREAMPROC_MONGODB_URL="mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200"
    )
    assert "mongodb at mongodb://127.0.0.1:9" in gone.stderr


async def test_erasing_a_person_reaches_the_archive(on: Stage, tmp_path: Path) -> None:
    await archive(on, "run")
    variables = {**environment(on), "STREAMPROC_FLUSH_VISIBILITY_SECONDS": "0.1"}
    await on.connections.shards[0].agree_on_layout(shards=1, window_ms=3_600_000)
    (tmp_path / "archive").rename(tmp_path / "away")
    code, receipt = await _erase(variables)
    assert (code, receipt["state"], list(receipt["trouble"])) == (1, "incomplete", ["archive"])
    (tmp_path / "away").rename(tmp_path / "archive")
    code, receipt = await _erase(variables, "--verify")
    assert (code, receipt["state"], receipt["verified"]) == (0, "complete", True)
    assert (receipt["archive_rows_deleted"], receipt["archive_files_rewritten"]) == (3, 3)
    assert on.users() == ["avi"]
    assert (await archive(on, "verify")).stdout == "3 of 3 days verified\n"
    assert "0 written of 3 days: 3 done" in (await archive(on, "run")).stdout


async def test_a_run_that_is_interrupted_says_so_and_the_next_one_goes_on(on: Stage) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamproc", "archive", "run"),
        env={**os.environ, **environment(on)},
        stdout=asyncio.subprocess.PIPE,
    )
    await asyncio.to_thread(_wait_for_something, on)
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    told, _ = await process.communicate()
    assert process.returncode == 130 or b"3 written of 3 days" in told
    assert "3 done" in (await archive(on, "run")).stdout
    assert (await archive(on, "verify")).stdout == "3 of 3 days verified\n"


def _wait_for_something(on: Stage) -> None:
    give_up_s = time.monotonic() + 30
    while not on.archive.objects.tokens("") and time.monotonic() < give_up_s:
        time.sleep(0.005)


async def _erase(variables: dict[str, str], *options: str) -> tuple[int | None, Any]:
    """In a process of its own: it waits for signals."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamproc", "erase", "--user", "dana", "--json", *options),
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    return process.returncode, orjson.loads(told)


@pytest.mark.parametrize(("library", "command"), [("pyarrow", "run"), ("duckdb", "query")])
async def test_a_missing_library_says_what_to_install(on: Stage, library: str, command: str, tmp_path: Path) -> None:
    await on.run()
    (tmp_path / "without" / library).mkdir(parents=True)
    (tmp_path / "without" / library / "__init__.py").write_text("raise ImportError")
    variables = {**os.environ, **environment(on), "PYTHONPATH": str(tmp_path / "without")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamproc", "archive", command), env=variables, stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 1
    assert "pip install 'streamproc[archive]'" in told.decode()


def test_a_worker_loads_none_of_the_heavy_libraries() -> None:
    script = "import streamproc.app.pod, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "streamproc" in loaded
    assert {"pyarrow", "google", "duckdb", "requests"}.isdisjoint(loaded)


async def test_workers_tell_of_overdue_days(on: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    metrics = Metrics()

    async def later() -> int:
        return day_start_ms(days_ago(3)) + 81 * 86_400_000

    async def overdue(watch: ArchiveWatch) -> float | None:
        await watch.run_once()
        return metrics.registry.get_sample_value("streamproc_archive_overdue_days")

    def new_watch() -> ArchiveWatch:
        made = make_archiving(on.connections)
        assert made is not None
        monkeypatch.setattr(made.inspector, "now_ms", later)
        return ArchiveWatch(made.inspector, metrics)

    watch = new_watch()
    assert await overdue(watch) == 3
    await on.run(days_ago(4))
    assert await overdue(watch) == 2
    (tmp_path / "archive").rename(tmp_path / "away")
    assert await overdue(watch) == 2
    assert await overdue(new_watch()) == 3, "of no day can it be seen that it is archived"
    (tmp_path / "away").rename(tmp_path / "archive")
    await on.run_all()
    assert await overdue(watch) == 0
