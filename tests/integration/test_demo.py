"""`streamproc demo`, as a person runs it; on servers that the environment names, so that what it leaves can be seen."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import pymongo
import pytest
import redis

from streamproc.embedded import EmbeddedServer


def demo(*options: str, **urls: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMPROC_")}
    environment |= {f"STREAMPROC_{name}": url for name, url in urls.items()}
    return subprocess.Popen(
        [sys.executable, "-m", "streamproc", "demo", "--json", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_demo_ends_exact_although_a_worker_is_killed_and_leaves_nothing(
    valkey: EmbeddedServer, mongod: EmbeddedServer
) -> None:
    with demo("--seconds", "8", "--rate", "200", REDIS_URL=valkey.url, MONGODB_URL=mongod.url) as process:
        assert process.stderr is not None
        said = ""
        while not (pids := re.findall(r"process (\d+), (\d+)", said)):
            line = process.stderr.readline()
            assert line, said
            said += line
        os.kill(int(pids[0][0]), signal.SIGKILL)
        dashboard = re.findall(r"dashboard: (http://127\.0\.0\.1:\d+/)", said)[0]
        with urllib.request.urlopen(f"{dashboard}api/overview", timeout=30) as response:
            assert json.load(response)["redis"]["up"]
        output, rest = process.communicate(timeout=100)
    result: dict[str, Any] = json.loads(output)
    assert process.returncode == 0, output + rest
    assert result["exact"] is True
    assert "worker 1 ended (-9)" in rest
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(dashboard, timeout=5)
    assert all(row["published"] == row["stored"] > 0 for row in result["rows"])
    with redis.Redis.from_url(valkey.url) as client:
        assert list(client.scan_iter("demo-*")) == []
    with pymongo.MongoClient[dict[str, Any]](mongod.url) as mongo:
        assert [name for name in mongo.list_database_names() if name.startswith("demo_")] == []


def test_ctrl_c_ends_a_demo_that_is_kept_and_it_is_still_compared(
    valkey: EmbeddedServer, mongod: EmbeddedServer
) -> None:
    with demo("--keep", "--rate", "50", REDIS_URL=valkey.url, MONGODB_URL=mongod.url) as process:
        assert process.stderr is not None
        while "workers run as process" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output, rest = process.communicate(timeout=100)
    assert process.returncode == 0, rest
    assert json.loads(output)["exact"] is True


def test_a_demo_names_the_server_that_is_away_and_what_to_do(valkey: EmbeddedServer) -> None:
    with demo(REDIS_URL="redis://:secret@127.0.0.1:1/0") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "redis://127.0.0.1:1/0: nothing listens there" in said
    assert "STREAMPROC_REDIS_URL" in said
    with demo(REDIS_URL=valkey.url, MONGODB_URL="mongodb://127.0.0.1:1") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "mongodb://127.0.0.1:1: nothing listens there" in said
    assert "Traceback" not in said
