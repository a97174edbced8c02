"""docs/operations.md: its settings of Redis satisfy `streamproc doctor`; backed up, lost and restored as it says, every
hour is exact."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import dedent

import orjson
import pytest
from pages import ROOT, read, section, snippets, table
from pods import Pods, pods, until
from redis.exceptions import ConnectionError as RedisConnectionError

from streamproc.app.settings import Settings
from streamproc.embedded import EmbeddedServer, start_mongod, start_redis, start_valkey

PAGE = "docs/operations.md"
#: A server waits five seconds for further replicas before it sends a copy.
AT_ONCE = ("--repl-diskless-sync-delay", "0")
pytestmark = pytest.mark.skipif(
    shutil.which("redis-cli") is None and os.environ.get("STREAMPROC_REQUIRE_TOOLS") != "1",
    reason="no redis-cli on PATH",
)


def blocks(heading: str, language: str) -> list[str]:
    """The blocks of one language under a heading; they may stand within a list."""
    text = section(PAGE, heading)
    parts = text.split(f"```{language}\n")[1:]
    return [dedent(part.partition("```")[0].rstrip(" ")) for part in parts]


def run(command: list[str], variables: dict[str, str], directory: Path) -> str:
    environment = {**os.environ, **variables, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def streamproc(command: str, system: Pods, directory: Path) -> None:
    """Run a line of the page. Fails unless its exit code is 0."""
    program, *arguments = shlex.split(command)
    assert program == "streamproc"
    run([sys.executable, "-m", "streamproc", *arguments], system.variables, directory)


def configured() -> list[str]:
    """The page's settings of Redis, as options."""
    (text,) = snippets(PAGE, "text")
    return [word for line in text.splitlines() for word in (f"--{line.split()[0]}", *line.split()[1:])]


def test_the_sizes_follow_from_what_was_measured() -> None:
    rows = {name: cells for name, *cells in table(section(PAGE, "Sizes"))}
    segment, entry, window = (int(cells[0]) for cells in rows.values() if len(cells) == 2)
    defaults = {name: float(Settings.model_fields[name].default) for name in Settings.model_fields if "seconds" in name}
    kept_h = sum(defaults[f"{one}_seconds"] for one in ("window", "late_horizon", "future_tolerance")) / 3600
    for place, viewers in enumerate((1_000, 10_000, 100_000)):
        an_hour = viewers * 240
        detail, stream = an_hour * kept_h * segment, an_hour * defaults["stream_retention_seconds"] / 3600 * entry
        gigabytes = {
            f"Redis: segments of {kept_h:.1f} hours": detail,
            "Redis: an hour of the stream": stream,
            "`maxmemory`: twice that": 2 * (detail + stream),
            "Redis grows, in an hour without MongoDB": an_hour * segment,
            "Redis grows, in an hour without workers": an_hour * entry,
            "MongoDB: 90 days": viewers * 24 * 90 * window,
        }
        assert rows["segments a second"][place] == f"{an_hour / 3600:,.0f}"
        for name, size in gigabytes.items():
            assert rows[name][place] == f"{size / 1e9:.2f} GB", name


@pytest.mark.parametrize("start", [start_valkey, start_redis])
def test_doctor_has_nothing_against_the_settings_of_redis(
    start: Callable[..., EmbeddedServer], mongod: EmbeddedServer, tmp_path: Path
) -> None:
    if start is start_redis and shutil.which("redis-server") is None and not os.environ.get("STREAMPROC_REQUIRE_TOOLS"):
        pytest.skip("no redis-server on PATH")
    with start(extra_args=configured()) as server:
        variables = {"STREAMPROC_REDIS_URL": server.url, "STREAMPROC_MONGODB_URL": mongod.url}
        ended = subprocess.run(
            [sys.executable, "-m", "streamproc", "doctor", "--json"],
            env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
    of_redis = [one for one in orjson.loads(ended.stdout) if one["subject"].startswith("Redis")]
    found = {one["check"]: one["verdict"] for one in of_redis}
    assert {name: found[name] for name in ("eviction", "memory", "persistence", "disk")} == dict.fromkeys(
        ("eviction", "memory", "persistence", "disk"), "green"
    )


async def test_what_is_backed_up_lost_and_restored_as_the_page_says_is_exact(tmp_path: Path) -> None:
    (back_up_redis,), (back_up_mongodb,) = blocks("Back up", "sh"), blocks("Back up", "python")
    switch_on, repair = blocks("Restore", "sh")
    with start_valkey(extra_args=AT_ONCE) as redis, start_mongod() as mongod:
        async with pods(redis.url, mongod.url) as system:
            run(["sh", "-c", switch_on], system.variables, tmp_path)
            await system.start()
            async with system.load():
                await asyncio.sleep(2)
                run(["sh", "-c", back_up_redis], system.variables, tmp_path)
                own = {**system.variables, "MONGODB_DATA": str(mongod.directory)}
                await asyncio.to_thread(run, [sys.executable, "-c", back_up_mongodb], own, tmp_path)
                await asyncio.sleep(2)
            await system.assert_exact()

            # MongoDB is lost. All that the copy lacks, Redis still has.
            with lost(mongod):
                shutil.copytree(tmp_path / "mongodb-backup", mongod.directory, dirs_exist_ok=True)
            assert await system.differences() != []
            await asyncio.to_thread(streamproc, repair.strip(), system, tmp_path)
            await system.assert_exact()

            # Redis is lost. What came after the copy is published again, and all that came before, too.
            published = [fields for _, fields in system.redis.xrange(system.keys.stream)]
            with lost(redis):
                shutil.copy(tmp_path / "redis-backup.rdb", redis.directory / "dump.rdb")
            run(["sh", "-c", switch_on], system.variables, tmp_path)
            await until(partial(answers, system))
            assert system.redis.config_get("appendonly") == {"appendonly": "yes"}
            for fields in published:
                system.redis.xadd(system.keys.stream, fields)
            await system.assert_exact()
            await asyncio.to_thread(streamproc, "streamproc audit", system, tmp_path)


@contextmanager
def lost(server: EmbeddedServer) -> Iterator[None]:
    """The server is killed and its data are gone; it is started with what is put there instead."""
    os.kill(server.pid, signal.SIGKILL)
    for path in server.directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "server.log":
            path.unlink()
    yield
    server.restart()


async def answers(system: Pods) -> bool:
    """Connections of before are noticed to have ended when they are used."""
    try:
        return await system.survey() is not None
    except RedisConnectionError:
        return False


def test_a_server_that_looks_for_its_append_only_file_does_not_see_the_copy(tmp_path: Path) -> None:
    """As step 1 of restoring says."""
    with start_valkey(extra_args=AT_ONCE) as server:
        variables = {"STREAMPROC_REDIS_URL": server.url}
        run(["redis-cli", "-u", server.url, "SET", "something", "there"], variables, tmp_path)
        run(["sh", "-c", blocks("Back up", "sh")[0]], variables, tmp_path)
    for persistent, found in ((True, ""), (False, "there")):
        with start_valkey(persistent=persistent) as server:
            with lost(server):
                shutil.copy(tmp_path / "redis-backup.rdb", server.directory / "dump.rdb")
            assert run(["redis-cli", "-u", server.url, "GET", "something"], {}, tmp_path).strip() == found
    assert "find none, and start empty" in read(PAGE)
