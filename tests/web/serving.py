"""A real `streamproc web` process, and requests to it as they are written, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from streamproc.app.settings import PREFIX
from web import conformity

TOKEN = "a-token-for-the-tests-of-the-api"
KEY = "a-key-for-the-tests-of-erasure"
PATIENCE_S = 30.0


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.data["error"])


class Web:
    """One web process. It begins in the settings of `variables`, without the prefix."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = {f"{PREFIX}{name}": value for name, value in variables.items()}
        self.token = variables.get("API_TOKEN", "")
        self._log = Path(tempfile.mkstemp(prefix="streamproc-web-", suffix=".log")[1])
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        return self._log.read_text()

    def launch(self, port: int = 0) -> None:
        """Start, without waiting."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streamproc", "web", "--port", str(port)],
                env={**outside, **self._variables},
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def start(self) -> Web:
        """Start, and wait until it serves."""
        self.launch()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log
        self.port = json.loads(line)["port"]
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait. Returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()
        self._log.unlink(missing_ok=True)

    async def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Ask, with the token where there is one. `headers`: with underscores for dashes; '' leaves one out."""
        return await asyncio.to_thread(self.ask, path, method, **headers)

    def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            given.setdefault("Authorization", f"Bearer {self.token}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.putrequest(method, path, skip_host="Host" in given, skip_accept_encoding=True)
            for name, value in given.items():
                if value:
                    connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            reply = Reply(response.status, response.headers, response.read())
        finally:
            connection.close()
        if path.startswith("/api") and method != "HEAD":
            conformity.require(method, path, *reply)
        return reply

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
