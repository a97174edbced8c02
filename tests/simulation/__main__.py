"""``python -m tests.simulation SEED [COUNT]``: play schedules from a seed on, and show how a failing one went."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from streamproc.embedded import start_valkey

from .redis_under_faults import SERVER_ARGUMENTS, Server
from .scheduler import Verdict, play


def main() -> int:
    arguments = _arguments()
    logging.disable()
    failed = 0
    started_s = time.monotonic()
    with start_valkey(extra_args=SERVER_ARGUMENTS) as valkey:
        server = Server(valkey.port)
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            verdict = play(server, seed)
            failed += not verdict.exact
            if arguments.trace or not verdict.exact:
                print(described(verdict))  # noqa: T201 - it is what this command is for
        server.close()
    per_s = arguments.count / (time.monotonic() - started_s)
    print(f"{arguments.count} schedules from seed {arguments.seed}: {failed} not exact ({per_s:.0f}/s)")  # noqa: T201
    return 1 if failed else 0


def described(verdict: Verdict) -> str:
    """The whole schedule, and what came of it."""
    outcome = "exact" if verdict.exact else "NOT exact:\n  " + "\n  ".join(verdict.differences)
    return "\n".join([f"seed {verdict.seed}", *verdict.trace, f"seed {verdict.seed} is {outcome}"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("count", type=int, nargs="?", default=1, help="how many seeds (1)")
    parser.add_argument("--trace", action="store_true", help="show the steps of exact schedules too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
