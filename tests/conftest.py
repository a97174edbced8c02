"""Real servers for the tests: one of each kind for a run (with xdist: for a worker), started when first asked for.

`make test` needs nothing but wheels. With STREAMPROC_REQUIRE_TOOLS=1 nothing is left out: a test that needs a tool
which this machine lacks fails, and says how to get it. A test that kills, freezes or reconfigures a server starts its
own.
"""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from typing import Any, Final

import pymongo
import pytest
import redis
from buckets import bucket_server
from google.cloud import storage

from streamproc.embedded import EmbeddedServer, start_mongod, start_redis, start_valkey

_REDIS_7_WANTED = shutil.which("redis-server") is not None or os.environ.get("STREAMPROC_REQUIRE_TOOLS") == "1"
REDIS_SERVERS = ["valkey", "redis7"] if _REDIS_7_WANTED else ["valkey"]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_BROWSER_WANTED = CHROMIUM is not None or os.environ.get("STREAMPROC_REQUIRE_TOOLS") == "1"
collect_ignore = [] if _BROWSER_WANTED else ["web/test_dashboard.py", "web/test_four_ways.py"]

#: Kinds of tests with a file that takes minutes, and those whose files take seconds. The long are begun first: they do
#: not keep one process busy when all others are done.
_LONG: Final = ("simulation", "chaos")
_SHORT: Final = ("script", "model", "deploy", "property", "unit")


def pytest_configure() -> None:
    # Whoever starts `make test &` from a script has the shell ignore SIGINT, and with it whatever is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> tuple[bool, bool]:
        kind = item.path.parent.name
        return kind in _SHORT, kind not in _LONG

    items.sort(key=rank)


def pytest_report_header() -> list[str]:
    left_out = "" if _REDIS_7_WANTED else " (redis7 left out: no redis-server on PATH)"
    browser = CHROMIUM or ("none" if _BROWSER_WANTED else "none (the dashboard's tests left out: no chromium on PATH)")
    return [f"redis servers under test: {', '.join(REDIS_SERVERS)}{left_out}", f"browser under test: {browser}"]


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedServer]:
    with start_valkey() as server:
        yield server


@pytest.fixture(scope="session")
def redis7() -> Iterator[EmbeddedServer]:
    """The system's redis-server. Fails with the remedy where there is none."""
    with start_redis() as server:
        yield server


@pytest.fixture(scope="session")
def mongod() -> Iterator[EmbeddedServer]:
    with start_mongod() as server:
        yield server


@pytest.fixture(scope="session")
def bucket_emulator() -> Iterator[str]:
    """URL of an emulator of Google Cloud Storage."""
    with bucket_server() as url:
        yield url


@pytest.fixture
def bucket(bucket_emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """ARCHIVE_URL of an empty bucket. This process and those it starts find the emulator."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket_emulator)
    name = f"test-{uuid.uuid4().hex}"
    storage.Client().create_bucket(name)
    return f"gs://{name}/archive"


@pytest.fixture(params=REDIS_SERVERS)
def redis_server(request: pytest.FixtureRequest) -> EmbeddedServer:
    """Each Redis-like server in turn: a test that asks for it runs once on each."""
    server: EmbeddedServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def redis_url(redis_server: EmbeddedServer) -> str:
    """URL of an empty Redis or Valkey."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def _mongo_client(mongod: EmbeddedServer) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](mongod.url) as client:
        yield client


@pytest.fixture
def mongo_database_name(_mongo_client: pymongo.MongoClient[dict[str, Any]]) -> Iterator[str]:
    """A name that no other test uses, of a database on `mongod`; dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    _mongo_client.drop_database(name)
