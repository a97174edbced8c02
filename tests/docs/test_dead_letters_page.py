"""docs/dead-letters.md: its commands are run in their order, and print what the page shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from pages import ROOT, names, section, snippets

from streamproc.core.commits import Reason
from streamproc.core.replay import Obstacle
from streamproc.embedded import EmbeddedServer

PAGE = "docs/dead-letters.md"
DEAD = "dubbing:{0}:dead"
#: When the first letter of the page was written, 2026-01-23 10:00:05 UTC; the others came a second apart.
PAGE_MS = 1_769_162_405_000


class Shell:
    """Runs lines of the page. Its letters are three hours old, and called as on the page."""

    def __init__(self, redis_url: str, directory: Path, now: datetime) -> None:
        self._directory = directory
        outside = {name: value for name, value in os.environ.items() if not name.startswith("STREAMPROC_")}
        own = {"PYTHONPATH": str(ROOT), "STREAMPROC_REDIS_URL": redis_url, "COLUMNS": "110"}
        self._environment = {**outside, **own}
        written = now - timedelta(hours=3)
        self._ids = {}
        with redis.Redis.from_url(redis_url) as client:
            for number, (reason, detail, event) in enumerate(letters(written)):
                at_ms = int(written.timestamp() + number) * 1000
                self._ids[f"{PAGE_MS + 1000 * number}-0"] = f"{at_ms}-0"
                fields = {"entry_id": f"{at_ms - 10}-0", "reason": reason, "detail": detail}
                client.xadd(DEAD, {**fields, "payload": orjson.dumps(event), "at": at_ms}, id=f"{at_ms}-0")

    def run(self, line: str) -> str:
        for on_page, here in self._ids.items():
            line = line.replace(on_page, here)
        program, *arguments = shlex.split(line)
        assert program == "streamproc"
        ended = subprocess.run(
            [sys.executable, "-m", "streamproc", *arguments],
            env=self._environment,
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode in (0, 1)
        said = ended.stdout + ended.stderr
        for on_page, here in self._ids.items():
            said = said.replace(here, on_page)
        return said


def letters(written: datetime) -> list[tuple[str, str, dict[str, Any]]]:
    """Reason, detail and event of the page's letters, as a consumer words them."""
    good = {
        "segment_id": "segment-17",
        "channel_id": "kan-11",
        "session_id": "session-1",
        "user_id": "user-1",
        "received_at": written - timedelta(seconds=5),
        "extraction_ms": 45,
        "dubbing_ms": 1100,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
    }
    ahead, old = written + timedelta(hours=6), written - timedelta(days=3)
    too_late = f"received_at {old.isoformat()}: added 255605.000 s after its window's end, allowed 86400 s"
    return [
        ("malformed", "segment_id: expected `str` of length >= 1, got ''", {**good, "segment_id": ""}),
        (
            "malformed",
            "the event: object missing required field `source_language`",
            {name: value for name, value in good.items() if name != "source_language"},
        ),
        (
            "future",
            f"received_at {ahead.isoformat()} is more than 300 s after the entry was added",
            {**good, "received_at": ahead},
        ),
        ("too_late", too_late, {**good, "received_at": old}),
    ]


@pytest.fixture
def shell(valkey: EmbeddedServer, tmp_path: Path) -> Iterator[Shell]:
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
        yield Shell(valkey.url, tmp_path, datetime.now(UTC).replace(microsecond=0))
        client.flushall()


def steps() -> list[tuple[str, str]]:
    """(command, what it prints), in the order of the page."""
    found = []
    for block in snippets(PAGE, "text"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            found.append((command, printed))
    return found


def timeless(text: str) -> list[str]:
    """The lines of a text without what is another at every run: times, ages, ids of new entries."""
    for pattern, name in (
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", "TIME"),
        (r"entry( +)\d+-\d+", "entry ID"),
        (r"\b\d+ (s|min|h|d)\b", "AGE"),
        (r" +", " "),
    ):
        text = re.sub(pattern, name, text)
    return [line.strip() for line in text.strip().splitlines()]


def test_commands_print_what_the_page_shows(shell: Shell) -> None:
    assert len(steps()) > 6
    for command, printed in steps():
        assert timeless(shell.run(command)) == timeless(printed), command


def test_every_subcommand_is_shown_at_work() -> None:
    shown = {command.split()[2] for command, _ in steps()}
    assert shown == {"list", "show", "replay", "export", "drop"}


def test_every_reason_and_every_refusal_is_explained() -> None:
    assert names(PAGE, "Reasons") == list(Reason)
    assert names(PAGE, "What is refused") == list(Obstacle)


def test_fields_of_an_exported_line_are_those_that_are_written(shell: Shell) -> None:
    (line,) = shell.run("streamproc dead-letters export --reason too_late").splitlines()
    written = set(orjson.loads(line))
    assert written | {"payload_base64"} == set(re.findall(r"`(\w+)`", section(PAGE, "Keep a record").split("\n\n")[0]))
