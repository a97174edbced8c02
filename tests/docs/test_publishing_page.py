"""The snippets of docs/publishing.md run as they stand, on a Redis that is there, and on one that is away."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from pages import ROOT, inline_code, read, snippets

import streamproc
from streamproc.embedded import EmbeddedServer, start_valkey

PAGE = "docs/publishing.md"
WITH_ASYNCIO, WITH_THREADS, AT_THE_END, WITH_METRICS, WITH_REPLICAS = snippets(PAGE, "python")
STREAM = "dubbing:{0}:segments"


@pytest.fixture(scope="module")
def server_that_dies() -> Iterator[EmbeddedServer]:
    with start_valkey(persistent=True) as server:
        yield server


@pytest.fixture
def server(server_that_dies: EmbeddedServer) -> EmbeddedServer:
    with redis.Redis.from_url(server_that_dies.url) as client:
        client.flushall()
    return server_that_dies


def run(snippet: str, server: EmbeddedServer, directory: Path) -> str:
    """What a snippet prints. It must end with 0."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "STREAMPROC_REDIS_URL": server.url}
    command = [sys.executable, "-W", "error", "-c", snippet]
    ended = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def published(server: EmbeddedServer, session_id: str) -> list[str]:
    """The segments of a session, in the order of the stream."""
    with redis.Redis.from_url(server.url) as client:
        entries = cast(list[tuple[bytes, dict[bytes, bytes]]], client.xrange(STREAM))
    events: list[dict[str, Any]] = [json.loads(fields[b"data"]) for _, fields in entries]
    return [event["segment_id"] for event in events if event["session_id"] == session_id]


def test_segments_put_with_asyncio_arrive_in_order(server: EmbeddedServer, tmp_path: Path) -> None:
    assert run(WITH_ASYNCIO, server, tmp_path) == ""
    assert published(server, "session-asyncio") == [f"segment-{number}" for number in range(100)]


def test_segments_put_with_threads_arrive_in_order(server: EmbeddedServer, tmp_path: Path) -> None:
    assert run(WITH_THREADS, server, tmp_path) == ""
    assert published(server, "session-threads") == [f"segment-{number}" for number in range(100)]


def test_what_was_not_confirmed_is_stored_and_published_by_the_next_run(server: EmbeddedServer, tmp_path: Path) -> None:
    os.kill(server.pid, signal.SIGKILL)
    assert run(AT_THE_END, server, tmp_path).startswith("1 segments not confirmed by redis://127.0.0.1:")
    left = tmp_path / "unconfirmed.jsonl"
    assert json.loads(left.read_text())["session_id"] == "session-stored"
    server.restart()
    assert run(AT_THE_END, server, tmp_path) == ""
    assert published(server, "session-stored") == ["segment-1", "segment-1"]
    assert not left.exists()


def test_metrics_reach_prometheus(server: EmbeddedServer, tmp_path: Path) -> None:
    lines = run(WITH_METRICS, server, tmp_path).splitlines()
    assert "dubbing_segments_confirmed_total 1.0" in lines
    assert "dubbing_segments_repeated_total 0.0" in lines
    assert "dubbing_segments_waiting 0.0" in lines
    assert "dubbing_put_waited_seconds_count 0.0" in lines


def test_publisher_with_replicas_runs(server: EmbeddedServer, tmp_path: Path) -> None:
    assert run(WITH_REPLICAS, server, tmp_path) == "0\n"


def test_every_name_on_the_page_is_one_of_the_package() -> None:
    named = {code for code in inline_code(read(PAGE)) if code.endswith(("Publisher", "Metrics", "Full", "Failed"))}
    assert named - set(streamproc.__all__) == set()
    assert len(named) >= 6


def test_every_argument_is_on_the_page() -> None:
    for argument in signature(streamproc.BufferedSegmentPublisher).parameters:
        assert re.search(rf"\b{argument}\b", read(PAGE)), argument


def test_both_forms_have_the_same_arguments_and_methods() -> None:
    forms = (streamproc.BufferedSegmentPublisher, streamproc.BlockingBufferedSegmentPublisher)
    one, other = ({name: given.default for name, given in signature(form).parameters.items()} for form in forms)
    assert one == other
    one_has, other_has = ({name for name in dir(form) if not name.startswith("_")} for form in forms)
    assert one_has == other_has
