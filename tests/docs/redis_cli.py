"""A stand-in for redis-cli where redis-tools is not installed: sends the very same arguments and prints the reply."""

from __future__ import annotations

import sys
from typing import Any

import redis


def main(option: str, url: str, *command: str) -> None:
    if option != "-u":
        raise SystemExit("usage: redis_cli.py -u URL COMMAND ...")
    with redis.Redis.from_url(url, protocol=2) as client:
        client.response_callbacks.clear()
        _show(client.execute_command(*command))


def _show(reply: Any) -> None:
    if isinstance(reply, list):
        for item in reply:
            _show(item)
    else:
        sys.stdout.write(f"{reply.decode() if isinstance(reply, bytes) else reply}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
