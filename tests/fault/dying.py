"""Runs `streamproc erase` again and again, each time in a process of its own that kills itself at the nth step.

A step is the moment before a command is sent to Redis or MongoDB, which is the one after the reply to the last.
Processes are forked from this one, which has loaded everything: loading takes longer than erasing.

Reads from standard input lines of a step (0: none) and a user; writes for each a JSON line: `code` (negative: a signal)
and `at`, the step at which it died.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import cryptography.hazmat.primitives.ciphers.aead
from pymongo import monitoring
from redis.asyncio import Redis

from streamproc.cli import erase, main

_LOADED = (asyncio, cryptography, erase)


class Steps(monitoring.CommandListener):
    """Counts steps, and dies at one.

    Args:
        pipe: is told at which.
    """

    def __init__(self, left: int, pipe: int) -> None:
        self._left = left
        self._pipe = pipe

    def step(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            os.write(self._pipe, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.step(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    def watch(self) -> None:
        """Every command of this process."""
        monitoring.register(self)
        redis: Any = Redis
        execute = redis.execute_command

        async def stepping(client: Any, *args: Any, **options: Any) -> Any:
            self.step(args[0])
            return await execute(client, *args, **options)

        redis.execute_command = stepping


def die(step: int, user: str) -> dict[str, Any]:
    """One erasure."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_erasing(step, user, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        at = pipe.read()
    _, status = os.waitpid(pid, 0)
    return {"code": os.waitstatus_to_exitcode(status), "at": at}


def _be_erasing(step: int, user: str, writing: int) -> None:
    """Never returns."""
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), sys.stdout.fileno())
        Steps(step, writing).watch()
        sys.argv[1:] = ["erase", "--user", user, "--json"]
        main.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 70
    finally:
        os._exit(code)


if __name__ == "__main__":
    for line in sys.stdin:
        number, _, name = line.rstrip("\n").partition(" ")
        print(json.dumps(die(int(number), name)), flush=True)  # noqa: T201
