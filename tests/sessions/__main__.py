"""``python -m tests.sessions``: old session documents migrate, and their totals are the sum of their hours."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from streamproc.embedded import start_mongod, start_valkey

from .proof import Outcome, Plan, Proof


def main() -> int:
    """Exit code 0: every document's totals are the sum of its hours, and nothing else has changed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sessions", description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--window-seconds", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    options = parser.parse_args()
    plan = Plan(options.sessions, options.window_seconds, options.workers, options.kills, options.seed)
    started_s = time.monotonic()
    outcome = asyncio.run(_run(plan))
    _show(outcome, time.monotonic() - started_s)
    return 0 if outcome.passed else 1


async def _run(plan: Plan) -> Outcome:
    with start_valkey() as valkey, start_mongod() as mongod:
        proof = Proof(valkey.url, mongod.url, plan, _say)
        try:
            return await proof.run()
        finally:
            await proof.close()


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _show(outcome: Outcome, elapsed_s: float) -> None:
    for run in outcome.migrations:
        _say(f"migration: {run}")
    _say(f"migration took {outcome.migration_s:.1f} s, beside everything else; all of it {elapsed_s:.0f} s")
    _say(f"{outcome.segments:,} segments in {outcome.hours:,} hours: {outcome.wrong_hours} wrong")
    _say(f"{outcome.sessions:,} documents: {outcome.wrong_documents} whose totals are not the sum of their hours")
    _say(f"{outcome.changed_documents} read otherwise by the old model; {outcome.changed_indexes} changes of indexes")
    _say("passed" if outcome.passed else "FAILED")


if __name__ == "__main__":
    sys.exit(main())
