"""docs/tutorial.md, as a reader goes through it: three terminals, every snippet in its order, and what the page shows.

Words must be the same, and what is 0 on the page must be 0; other numbers, times and ids may differ. The dashboard gets
a free port instead of 8080.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, fenced, section

PAGE = "docs/tutorial.md"
PATIENCE_S = 60.0
DONE = "the terminal is done:"


class Terminal:
    """A shell that somebody types into. What it says is kept in a file, and read from where the last command began."""

    def __init__(self, output: Path, directory: Path) -> None:
        self._output = output
        outside = {name: value for name, value in os.environ.items() if not name.startswith("STREAMPROC_")}
        outside.pop("COLUMNS", None)
        with output.open("wb") as kept:
            self._shell = subprocess.Popen(
                ["bash"],
                cwd=directory,
                env={**outside, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=kept,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._from = 0

    @property
    def said(self) -> str:
        said = self._output.read_bytes()[self._from :].decode()
        return re.sub(r"^bash: line .* Killed .*\n", "", said, flags=re.MULTILINE)  # of a job, whenever it notices

    def type(self, text: str) -> None:
        self._from = self._output.stat().st_size
        assert self._shell.stdin is not None
        self._shell.stdin.write(text.encode())
        self._shell.stdin.flush()

    def run(self, snippet: str) -> str:
        """What a snippet prints before the prompt is back. It must end with 0."""
        self.type(f"{snippet}\necho {DONE} $?\n")
        return self.ended()

    def ended(self) -> str:
        """What was said before the prompt is back."""
        mark = re.compile(rf"{DONE} (\d+)\n")
        eventually(lambda: mark.search(self.said), lambda: self.said)
        said, code, _ = mark.split(self.said, maxsplit=1)
        assert code == "0", said
        return said

    def start(self, snippet: str, shown: str) -> str:
        """What a snippet that goes on running says: what the page shows."""
        self.type(snippet)
        eventually(lambda: alike(self.said) == alike(shown), lambda: self.said)
        return self.said

    def look(self, command: str, shown: str) -> str:
        """What a command that only reads says, as soon as that is what the page shows."""
        said = ""

        def is_shown() -> bool:
            nonlocal said
            said = self.run(command)
            return alike(said) == alike(shown)

        eventually(is_shown, lambda: f"{alike(said)}\nis not\n{alike(shown)}\n{said}")
        return said

    def press_ctrl_c(self) -> None:
        os.killpg(self._shell.pid, signal.SIGINT)

    def close(self) -> None:
        """End the shell and all that it started."""
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()


def eventually(is_so: Callable[[], Any], found: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, found()
        time.sleep(0.1)


def alike(text: str) -> str:
    """The text without what differs from one reader to the next: numbers but 0, widths, one or several."""
    text = re.sub(r"\d\d:\d\d(:\d\d)?", "#", text)
    text = re.sub(r"-[0-9a-f]{8}\b", "-#", text)
    text = re.sub(r"\d[\d.,]*", lambda number: "#" if number[0].strip("0.,") else "0", text)
    text = re.sub(r"\b(segment|window|channel)s\b", r"\1", text)
    text = re.sub(r"# min\b", "# s", text)
    return " ".join(text.split())


def blocks(heading: str) -> list[str]:
    return [content for _, content in fenced(section(PAGE, heading))]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A checkout after `make demo`, as far as the page uses it."""
    directory = tmp_path / "checkout"
    tools = directory / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name, arguments in (("python", ""), ("streamproc", "-m streamproc ")):
        (tools / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments}"$@"\n')
        (tools / name).chmod(0o755)
    return directory


@pytest.fixture
def terminals(directory: Path, tmp_path: Path) -> Iterator[list[Terminal]]:
    terminals = [Terminal(tmp_path / f"{name}.txt", directory) for name in ("first", "second", "third")]
    try:
        yield terminals
    finally:
        for terminal in reversed(terminals):
            terminal.close()


class Dashboard:
    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=PATIENCE_S) as answer:
            return str(answer.read().decode())

    @property
    def overview(self) -> dict[str, Any]:
        return dict(json.loads(self.page("/api/overview")))

    @property
    def states(self) -> set[str]:
        hours = json.loads(self.page("/api/channels/my-channel/hourly"))["hours"]
        return {hour["state"] for hour in hours}

    def says(self, words: str) -> None:
        """Waits until a trouble says it."""
        eventually(
            lambda: any(words in trouble["message"] for trouble in self.overview["troubles"]),
            lambda: json.dumps(self.overview["troubles"]),
        )

    def is_healthy(self) -> None:
        eventually(lambda: self.overview["verdict"] == "healthy", lambda: json.dumps(self.overview["troubles"]))


def test_a_reader_gets_to_the_end(terminals: list[Terminal], directory: Path) -> None:
    first, second, third = terminals
    _servers(first)
    _all_is_well(second)
    dashboard = _worker_and_dashboard(second)
    _own_worker(third, directory)
    _look(second, dashboard)
    _something_wrong(second, dashboard)
    _kill(second, third, dashboard)
    _end(first, second, directory)


def _servers(terminal: Terminal) -> None:
    _make, servers, shown = blocks("1. Servers")
    # On the same line, since what comes on the next one is for the servers.
    terminal.start(f"{servers.rstrip()}; echo {DONE} $?\n", shown)


def _all_is_well(terminal: Terminal) -> None:
    settings, shown, doctor = blocks("2. Is all well?")
    assert alike(terminal.run(settings)) == alike(shown)
    assert ", 0 red" in terminal.run(doctor).splitlines()[-1]


def _worker_and_dashboard(terminal: Terminal) -> Dashboard:
    worker, ready, web, web_ready = blocks("3. A worker and the dashboard")
    terminal.run("export STREAMPROC_CONSUMER=laptop")  # a name of that length, whatever this machine is called
    terminal.start(worker, ready)
    said = terminal.start(web.replace("--port 8080", "--port 0"), web_ready)
    dashboard = Dashboard(json.loads(said)["port"])
    assert "<title>" in dashboard.page("/")
    dashboard.is_healthy()
    return dashboard


def _own_worker(terminal: Terminal, directory: Path) -> None:
    program, run = blocks("4. Your own dubbing worker")
    (directory / "dub.py").write_text(program)
    terminal.type(run)


def _look(terminal: Terminal, dashboard: Dashboard) -> None:
    status, its_screen, segments, its_table, curl, its_lines = blocks("5. Look")
    terminal.look(status, its_screen)
    terminal.look(segments, its_table)
    terminal.look(curl.replace("127.0.0.1:8080", dashboard.address), its_lines)
    dashboard.is_healthy()
    assert [channel["channel_id"] for channel in dashboard.overview["live"]["channels"]] == ["my-channel"]


def _something_wrong(terminal: Terminal, dashboard: Dashboard) -> None:
    publish, letters, its_lines, replay, replayed = blocks("6. Send something wrong")
    assert terminal.run(publish) == ""
    terminal.look(letters, its_lines)
    dashboard.says("Events are refused")
    assert terminal.run(replay) == replayed


def _kill(terminal: Terminal, dubbing: Terminal, dashboard: Dashboard) -> None:
    kill, worker, ready, confirmed, audit, its_lines = blocks("7. Kill the worker")
    terminal.run(kill)
    dashboard.says("No worker is heard of")
    terminal.start(worker, ready)
    dubbing.press_ctrl_c()
    eventually(lambda: alike(dubbing.said) == alike(confirmed), lambda: dubbing.said)
    eventually(lambda: dashboard.states == {"final"}, lambda: str(dashboard.states))
    said = terminal.look(audit, its_lines)
    assert f" counted {int(dubbing.said.split()[0]) + 1}," in said


def _end(first: Terminal, second: Terminal, directory: Path) -> None:
    (end,) = blocks("8. End")
    second.run(end)
    assert [path.name for path in directory.iterdir()] == [".venv"]
    first.type("\n")
    first.ended()


def test_demo_is_run_by_continuous_integration() -> None:
    make = blocks("1. Servers")[0]
    assert make in (ROOT / ".ci" / "run").read_text()


def test_what_each_step_shows_adds_up_on_the_page() -> None:
    """The page is one run: the audit counts what dub.py said, and the mended one."""
    *_, confirmed, _audit, balance = blocks("7. Kill the worker")
    assert f" counted {int(confirmed.split()[0]) + 1}," in balance
