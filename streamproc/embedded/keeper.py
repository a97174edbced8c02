"""Keep one server running for as long as somebody holds this process' standard input open.

    python -S -E keeper.py <directory> -- <server> [argument ...]

However the parent ends, `kill -9` included, the kernel closes its end of the pipe: the keeper reads the end of its
input, ends the server (SIGTERM, after 5 s SIGKILL), removes the directory, and exits with the server's code (128 + n
for signal n). Input that says `keep` before it ends spares the directory. SIGTERM does the same as the end of input.

Standard output says the server's process id, and ends when the server has ended; the server writes to standard error.
Runs alone on the standard library, without site-packages: it is started for every server, and is to be quick.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

if sys.platform == "linux":
    import ctypes

STOP_SECONDS = 5
KEEP = b"keep"
CANNOT_RUN = 126
_PR_SET_PDEATHSIG = 1


class Server:
    """The one child. It is reaped only here, so until `code` is known `pid` cannot mean another process."""

    def __init__(self, command: list[str]) -> None:
        self.code: int | None = None
        keeper = os.getpid()
        # Held back until the fork is the server: the handler it inherits would swallow an early SIGTERM.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self.pid = os.fork()
        if self.pid == 0:
            _become(command, keeper)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code
        return self.code is not None

    def end(self, wake: int) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            give_up = time.monotonic() + STOP_SECONDS
            if not self.ended():
                os.kill(self.pid, number)
            while not self.ended() and (left := give_up - time.monotonic()) > 0:
                if select.select([wake], [], [], left)[0]:
                    os.read(wake, 64)


def _become(command: list[str], keeper: int) -> None:
    """Turn this fork into the server. Never returns."""
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != keeper:  # killed before it was asked to take the server along
                return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        os.execv(command[0], command)  # noqa: S606 - without a shell is the point
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(CANNOT_RUN)


def signals() -> int:
    """A descriptor to read the numbers of arriving signals from, so that one `select` waits for all there is."""
    wake, arriving = os.pipe()
    os.set_blocking(arriving, False)
    signal.set_wakeup_fd(arriving)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return wake


def wait_for_end_of_input(server: Server, wake: int) -> bytes:
    """Wait until the parent is gone or this process is told to stop; returns what the parent said."""
    said = b""
    while True:
        ready = select.select([0, wake], [], [])[0]
        if wake in ready:
            if signal.SIGTERM in os.read(wake, 64):
                return said
            if server.ended():
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if 0 in ready:
            chunk = os.read(0, 64)
            if not chunk:
                return said
            said += chunk


def main(directory: str, command: list[str]) -> int:
    wake = signals()
    server = Server(command)
    os.write(1, f"{server.pid}\n".encode())
    said = wait_for_end_of_input(server, wake)
    server.end(wake)
    if said != KEEP:
        import shutil  # noqa: PLC0415 - late: it would slow every start

        shutil.rmtree(directory, ignore_errors=True)  # a parent that lives looks again
    return CANNOT_RUN if server.code is None else server.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[3:]))
