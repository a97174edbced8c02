"""What a demo plays on: Redis and MongoDB, embedded or named in the environment, and streamproc's own processes."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pymongo.errors import PyMongoError

from streamproc.app.explain import explain
from streamproc.app.settings import PREFIX, Settings
from streamproc.embedded import start_mongod, start_valkey
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.redis.connect import AnyRedis, describe
from streamproc.stores.redis.failures import FAILURES

#: Short windows, so that a minute shows a day's life. What the environment says wins.
SHORT: Final = {
    "WINDOW_SECONDS": "10",
    "GRACE_SECONDS": "2",
    "LATE_QUIET_SECONDS": "1",
    "LATE_HORIZON_SECONDS": "120",
    "FUTURE_TOLERANCE_SECONDS": "5",
    "CLAIM_IDLE_SECONDS": "2",
    "FLUSH_VISIBILITY_SECONDS": "5",
}
_READY_S: Final = 30.0
_LEAVE_S: Final = 12.0
_PR_SET_PDEATHSIG: Final = 1


class WorkerFailed(RuntimeError):
    """A process did not become ready. The message holds the end of its log."""


class ServerAway(RuntimeError):
    """A server named in the environment does not answer. The message says which, and what to do."""


@contextmanager
def environment() -> Iterator[dict[str, str]]:
    """The settings of a demo as environment variables; embedded servers run while they are in use.

    Servers named in the environment get keys and a database of the demo's own, beside whatever they hold.

    Raises:
        streamproc.embedded.ServerUnavailable: a server cannot start; the message says what to do.
    """
    variables = {f"{PREFIX}{name}": value for name, value in SHORT.items()}
    variables |= {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    suffix = secrets.token_hex(4)
    servers = []
    try:
        if f"{PREFIX}REDIS_URL" not in variables:
            servers.append(start_valkey())
            variables[f"{PREFIX}REDIS_URL"] = servers[-1].url
        else:
            variables.setdefault(f"{PREFIX}PREFIX", f"demo-{suffix}")
        if f"{PREFIX}MONGODB_URL" not in variables:
            servers.append(start_mongod())
            variables[f"{PREFIX}MONGODB_URL"] = servers[-1].url
        else:
            variables.setdefault(f"{PREFIX}MONGODB_DATABASE", f"demo_{suffix}")
        yield variables
    finally:
        for server in reversed(servers):
            server.stop()


async def require_servers(settings: Settings, redis: AnyRedis, mongodb: mongo.Client) -> None:
    """Workers wait for a server that is away; a demo says so. Raises ServerAway."""
    try:
        await redis.ping()
    except FAILURES as error:
        raise _away(describe(settings.redis_url.get_secret_value()), "REDIS_URL", error) from None
    try:
        await mongodb.admin.command("ping")
    except PyMongoError as error:
        raise _away(mongo.describe(settings.mongodb_url.get_secret_value()), "MONGODB_URL", error) from None


def _away(address: str, setting: str, error: Exception) -> ServerAway:
    cause, remedy, _ = explain(error)
    return ServerAway(f"{address}: {cause}. {remedy}; or unset STREAMPROC_{setting} to use an embedded server")


def settings_of(variables: dict[str, str]) -> Settings:
    """The settings that a worker with this environment has. As there, what is no setting is passed over."""
    given = {name.removeprefix(PREFIX).lower(): value for name, value in variables.items()}
    return Settings.load(**{name: value for name, value in given.items() if name in Settings.model_fields})


class Process:
    """A command of streamproc that serves until it is told to leave: `worker` or `web`.

    It ends with its parent (Linux), and Ctrl-C in the terminal does not reach it.

    Args:
        command: which, and `name` is what messages call it.
        variables: its environment, beside that of this process.
    """

    def __init__(self, command: str, name: str, variables: dict[str, str]) -> None:
        self.name = name
        self._command = command
        self._variables = variables
        self._process: asyncio.subprocess.Process | None = None
        self._log = Path(tempfile.gettempdir()) / f"streamproc-{command}-{secrets.token_hex(4)}.log"
        self.port = 0

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    @property
    def ended(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        """Start, and wait until it serves. Raises WorkerFailed."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "streamproc", self._command, "--port", "0"),
                env={**os.environ, **self._variables},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        stdout = self._process.stdout
        line = b""
        if stdout is not None:
            try:
                line = await asyncio.wait_for(stdout.readline(), _READY_S)
            except TimeoutError:
                line = b""
        if not line:
            raise WorkerFailed(f"{self.name} did not become ready. Its log ends with:\n{self.log_tail()}")
        self.port = json.loads(line)["port"]

    async def stop(self) -> int:
        """SIGTERM, and wait. Returns the exit code. Fine to repeat, and on one that never started."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), _LEAVE_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._log.unlink(missing_ok=True)
        return self._process.returncode or 0

    def log_tail(self, lines: int = 15) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


class Worker(Process):
    """One worker process."""

    def __init__(self, number: int, variables: dict[str, str]) -> None:
        super().__init__("worker", f"worker {number}", variables)
        self.number = number


class Web(Process):
    """The process that serves the dashboard."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__("web", "the web server", {**variables, f"{PREFIX}WEB_HOST": "127.0.0.1"})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


def _end_with_parent() -> None:
    """Runs in the new process: the kernel ends it when its parent dies, `kill -9` included."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
