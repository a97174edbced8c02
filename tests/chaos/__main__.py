"""``python -m tests.chaos``: cause every fault, and print what became of the stored hours."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time

import pymongo
import redis

from streamproc.embedded import start_mongod, start_valkey

from .campaign import Row, campaign
from .faults import FAULTS
from .report import circumstances, table, trouble

_NAMES = [fault.name for fault in FAULTS]


def main() -> int:
    """Exit code 0: every number is zero; 1: one is not, or a fault did not take place."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="default: a random one")
    parser.add_argument("--seconds", type=float, default=600, help="for all faults together (default: %(default)g)")
    parser.add_argument("--only", metavar="FAULT", choices=_NAMES, action="append", help=f"one of: {', '.join(_NAMES)}")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args()
    faults = [fault for fault in FAULTS if options.only is None or fault.name in options.only]
    _tell(f"seed {options.seed}, {len(faults)} faults")
    started_s = time.monotonic()
    rows = asyncio.run(campaign(faults, options.seed, options.seconds, _show))
    elapsed_s = time.monotonic() - started_s
    _tell("")
    print(table(rows, markdown=options.markdown))  # noqa: T201
    print(f"\n{circumstances(options.seed, elapsed_s, _versions())}")  # noqa: T201
    _tell(trouble(rows, options.seed))
    return 0 if all(row.passed for row in rows) else 1


def _show(row: Row) -> None:
    numbers = " ".join(map(str, row.verdict.numbers))
    _tell(f"{row.seconds:4.0f} s  {row.fault}: {row.times} times, {numbers}{'' if row.passed else '  NOT EXACT'}")


def _versions() -> str:
    with start_valkey() as valkey, start_mongod() as mongod:
        seen = redis.Redis.from_url(valkey.url)
        with pymongo.MongoClient[dict[str, object]](mongod.url) as client:
            versions = f"Valkey {seen.info('server')['valkey_version']}, MongoDB {client.server_info()['version']}"
        seen.close()
    return versions


def _tell(line: str) -> None:
    """Progress, which is not the result."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
