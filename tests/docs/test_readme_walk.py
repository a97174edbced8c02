"""A newcomer's way through the README: its snippets run as they stand, on the servers that they start.

Snippets find `.venv/bin/python` and `.venv/bin/streamproc` in a directory of the test's own, which lead to the Python
that runs the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pymongo
import pytest
import pytest_asyncio
import redis
from pages import PAGES, ROOT, fenced, names, snippets

from streamproc.demo.stage import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAKE, SERVERS, WORKER, PUBLISH, FIND, DEAD = snippets("README.md", "sh")
WITH_ASYNCIO, WITH_THREADS = snippets("README.md", "python")
PATIENCE_S = 60.0
FORMATS = "docs/formats.md"


class Ran(NamedTuple):
    code: int | None
    output: str


class Walk:
    """The directory and the variables of the newcomer's terminals."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.variables: dict[str, str] = {}
        tools = directory / ".venv" / "bin"
        tools.mkdir(parents=True)
        _write_program(tools / "python", f'exec {shlex.quote(sys.executable)} "$@"')
        _write_program(tools / "streamproc", f'exec {shlex.quote(sys.executable)} -m streamproc "$@"')
        if shutil.which("redis-cli") is None:
            assert os.environ.get("STREAMPROC_REQUIRE_TOOLS") != "1", "install redis-cli (Debian: redis-tools)"
            stand_in = shlex.quote(str(Path(__file__).with_name("redis_cli.py")))
            _write_program(tools / "redis-cli", f'exec {shlex.quote(sys.executable)} {stand_in} "$@"')

    async def start(self, *command: str) -> asyncio.subprocess.Process:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("STREAMPROC_")}
        path = f"{os.environ['PATH']}:{self.directory / '.venv' / 'bin'}"
        environment = {**outside, "PATH": path, "PYTHONPATH": str(ROOT), **self.variables}
        return await asyncio.create_subprocess_exec(
            *command, cwd=self.directory, env=environment, stdin=PIPE, stdout=PIPE, stderr=STDOUT
        )

    async def run(self, *command: str) -> Ran:
        process = await self.start(*command)
        output, _ = await process.communicate()
        return Ran(process.returncode, output.decode())

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.variables["STREAMPROC_REDIS_URL"], decode_responses=True)

    def measurements(self, session_id: str) -> list[dict[str, Any]]:
        with pymongo.MongoClient[dict[str, Any]](self.variables["STREAMPROC_MONGODB_URL"]) as client:
            return list(client["dubbing"]["dubbing_metrics_ts"].find({"metadata.session_id": session_id}))


def _write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


async def eventually(found: Callable[[], Any]) -> Any:
    """What `found` finds, as soon as it finds anything."""
    async with asyncio.timeout(PATIENCE_S):
        while not (result := await asyncio.to_thread(found)):  # noqa: ASYNC110 - servers raise no asyncio.Event
            await asyncio.sleep(0.2)
    return result


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def walk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Walk]:
    """Servers and a worker are up, as the README starts them. Afterwards Enter ends the servers."""
    walk = Walk(tmp_path_factory.mktemp("newcomer"))
    servers = await walk.start("sh", "-c", SERVERS)
    assert servers.stdout is not None
    for _ in range(2):
        export, name, value = re.split("[ =]", (await servers.stdout.readline()).decode().strip(), maxsplit=2)
        assert export == "export"
        walk.variables[name] = value
    exports, command = WORKER.splitlines()
    assert shlex.split(command) == [".venv/bin/streamproc", "worker", "--port", "0"]  # what `Worker` runs
    worker = Worker(1, walk.variables | dict(word.split("=") for word in shlex.split(exports)[1:]))
    await worker.start()
    try:
        yield walk
    finally:
        assert await worker.stop() == 0
        await servers.communicate(b"\n")
        assert servers.returncode == 0


async def test_event_published_with_redis_cli_is_found_in_mongodb(walk: Walk) -> None:
    published = await walk.run("sh", "-c", PUBLISH)
    assert published.code == 0
    assert re.fullmatch(r'"?\d+-\d+"?\s*', published.output)
    await eventually(lambda: walk.measurements("session-by-hand"))
    found = await walk.run("sh", "-c", FIND)
    assert found.code == 0
    assert found.output.count("'session_id': 'session-by-hand'") == 1
    assert "'segments_processed': 1," in found.output
    assert "'avg_total_ms': 1200.0," in found.output


async def test_event_published_with_asyncio_is_found_in_mongodb(walk: Walk) -> None:
    published = await walk.run(".venv/bin/python", "-c", WITH_ASYNCIO)
    assert published.code == 0, published.output
    assert re.fullmatch(r"\d+-\d+\n", published.output)
    (measurement,) = await eventually(lambda: walk.measurements("session-asyncio"))
    assert measurement["segments_processed"] == 1


async def test_events_published_with_threads_are_found_in_mongodb(walk: Walk) -> None:
    published = await walk.run(".venv/bin/python", "-c", WITH_THREADS)
    assert published == Ran(0, "")
    (measurement,) = await eventually(lambda: walk.measurements("session-threads"))
    assert measurement["segments_processed"] == 4


async def test_the_very_same_event_counts_once_also_after_its_window_was_stored(walk: Walk) -> None:
    await walk.run("sh", "-c", PUBLISH.replace("session-by-hand", "session-repeated"))
    await eventually(lambda: walk.measurements("session-repeated"))
    with walk.redis as client:
        entries: Any = client.xrange("dubbing:{0}:segments")
        (payload,) = [fields["data"] for _, fields in entries if "session-repeated" in fields["data"]]
        before = client.hget("dubbing:{0}:ledger", "duplicates")
        client.xadd("dubbing:{0}:segments", {"data": payload})
        await eventually(lambda: client.hget("dubbing:{0}:ledger", "duplicates") != before)
    (measurement,) = walk.measurements("session-repeated")
    assert measurement["segments_processed"] == 1


async def test_audit_after_the_walk_finds_nothing(walk: Walk) -> None:
    await walk.run("sh", "-c", PUBLISH.replace("session-by-hand", "session-audited"))
    await eventually(lambda: walk.measurements("session-audited"))
    audit = await walk.run("sh", "-c", f"{WORKER.splitlines()[0]}; .venv/bin/streamproc audit")
    assert audit.code == 0, audit.output
    assert "imbalance 0" in audit.output


async def test_event_that_breaks_a_rule_is_found_among_the_dead_letters(walk: Walk) -> None:
    publish, _sleep, look = DEAD.splitlines()
    assert (await walk.run("sh", "-c", publish)).code == 0
    with walk.redis as client:
        await eventually(lambda: client.xlen("dubbing:{0}:dead"))
    found = await walk.run("sh", "-c", look)
    assert "malformed" in found.output
    assert "segment_id" in found.output


async def test_keys_and_fields_in_redis_are_those_of_the_formats_page(walk: Walk) -> None:
    await walk.run("sh", "-c", PUBLISH.replace("session-by-hand", "session-of-keys"))
    await walk.run("sh", "-c", DEAD)
    documented = [re.sub(r"<\w+>", "[^:]+", re.escape(key)) for key in names(FORMATS, "Redis keys")]
    pattern = re.compile("|".join(documented).replace(r"\{s\}", r"\{0\}"))
    with walk.redis as client:
        await eventually(lambda: client.xlen("dubbing:{0}:dead"))
        found: Any = client.keys()
        strangers = [key for key in found if not pattern.fullmatch(key)]
        assert strangers == []
        # The walk gives its workers no erasure key.
        assert set(client.hkeys("dubbing:{0}:layout")) == set(names(FORMATS, "Layout")) - {"erasure_key"}
        assert set(client.hkeys("dubbing:{0}:ledger")) <= set(names(FORMATS, "Ledger"))
        letters: Any = client.xrange("dubbing:{0}:dead")
    assert all(list(fields) == names(FORMATS, "Dead letters") for _, fields in letters)
    assert letters


async def test_types_of_keys_in_redis_are_those_of_the_formats_page(walk: Walk) -> None:
    await walk.run("sh", "-c", PUBLISH.replace("session-by-hand", "session-of-types"))
    kinds = dict(zip(names(FORMATS, "Redis keys"), names(FORMATS, "Redis keys", 1), strict=True))
    word = {"stream": "stream", "hash": "hash", "zset": "sorted set", "set": "set", "string": "string"}
    with walk.redis as client:
        for key, kind in kinds.items():
            if "<" not in key and client.exists(name := key.replace("{s}", "{0}")):
                assert word[str(client.type(name))] == kind, key


#: Of each page, how many snippets its test runs. Those of dashboard and doctor are the command itself, which tests/web
#: and tests/integration/test_doctor.py run.
SNIPPETS_RUN = {
    "README.md": 8,
    "docs/archive.md": 3,
    "docs/dashboard.md": 1,
    "docs/doctor.md": 2,
    "docs/formats.md": 2,
    "docs/http-api.md": 13,
    "docs/operations.md": 2,
    "docs/publishing.md": 5,
    "docs/queries.md": 20,
    "docs/retention.md": 4,
    "docs/runbooks.md": 1,
    "docs/security.md": 1,
    "docs/sessions.md": 1,
    "docs/tutorial.md": 18,
}

#: Where a container engine, a cluster or mongosh would run them: compared with the files that they are about. And a
#: measurement of ten minutes, which a test runs at a smaller scale.
SNIPPETS_VALIDATED = {"docs/cost.md": 1, "docs/deployment.md": 3, "docs/security.md": 1}


async def test_every_snippet_of_every_page_is_run_by_a_test() -> None:
    pictures = {"text", "json", "csv", "mermaid"}
    found = {str(page.relative_to(ROOT)): [language for language, _ in fenced(page.read_text())] for page in PAGES}
    assert set().union(*found.values()) <= {"sh", "python", "sql", "caddyfile", "javascript"} | pictures
    runnable = {page: len([one for one in languages if one not in pictures]) for page, languages in found.items()}
    assert {page: number for page, number in runnable.items() if number} == {
        page: SNIPPETS_RUN.get(page, 0) + SNIPPETS_VALIDATED.get(page, 0) for page in SNIPPETS_RUN | SNIPPETS_VALIDATED
    }


async def test_the_two_commands_are_run_by_continuous_integration() -> None:
    steps = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line.partition("#")[0].strip() for line in MAKE.splitlines()] == ["make demo", "make test"]
    assert {"make demo", "make test"} <= set(steps)


async def test_ready_line_and_probes_are_as_the_readme_says(walk: Walk) -> None:
    """`{"event": "ready", ...}` is read by `Worker`; here the pages behind the port."""
    second = Worker(2, walk.variables | {"STREAMPROC_WINDOW_SECONDS": "5"})
    await second.start()
    try:
        pages = [f"http://127.0.0.1:{second.port}/{page}" for page in ("healthz", "metrics")]
        code = "import sys, urllib.request as u; [sys.stdout.write(u.urlopen(p).read().decode()) for p in sys.argv[1:]]"
        served = await walk.run(sys.executable, "-c", code, *pages)
        assert json.loads(served.output.partition("}")[0] + "}") == {"status": "alive"}
        assert "streamproc_events_total" in served.output
    finally:
        assert await second.stop() == 0
