"""``make bench-mission``: what the review of segment storage claims, measured on real servers of its own.

Loads the same segments as a document each (the review's Option A) and as hourly measurements (ours), asks both the
same questions, and compares every answer; then carries out the review's hourly job and our flush. It takes some ten
minutes and 5 GB of disk. Exit code 1 if the two sides disagree anywhere.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import msgspec
from rich.console import Console

from . import page, report
from .measure import Plan, measure
from .results import Results

_USUAL = Plan()
_MOST_DAYS = 80


def main() -> int:
    arguments = _arguments()
    plan = Plan(
        cache_gb=arguments.cache_gb,
        users=arguments.users,
        small_users=arguments.small_users,
        days=arguments.days,
        job_windows=arguments.job_windows,
        rounds=arguments.rounds,
    )
    results = page.recorded() if arguments.recorded else asyncio.run(measure(plan, _tell))
    if arguments.archive_bytes is not None:
        results = msgspec.structs.replace(results, archive_bytes_a_user_day=arguments.archive_bytes)
    _show(results)
    if arguments.markdown:
        page.record(results)
        page.PAGE.write_text(page.filled(page.PAGE.read_text(), report.tables(results)))
    return 1 if results.wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-mission", description=__doc__)
    for name, usual, what in (
        ("--users", _USUAL.users, "of the large scale"),
        ("--small-users", _USUAL.small_users, "of the small one, to compare with"),
        ("--days", _USUAL.days, "at most 80: our measurements expire after 90"),
        ("--job-windows", _USUAL.job_windows, "in the hour that is in Redis"),
        ("--rounds", _USUAL.rounds, "of each question, at most"),
    ):
        parser.add_argument(name, type=_number, default=usual, metavar="N", help=f"{what} (%(default)s)")
    parser.add_argument("--cache-gb", type=float, default=_USUAL.cache_gb, help="of MongoDB (%(default)s)")
    parser.add_argument("--archive-bytes", type=float, help="what a user's day takes in the archive, for the bill")
    parser.add_argument("--recorded", action="store_true", help="measure nothing: show what was recorded last")
    parser.add_argument("--markdown", action="store_true", help="record it, and write the tables of docs/cost.md")
    arguments = parser.parse_args()
    if arguments.days > _MOST_DAYS:
        parser.error(f"--days {arguments.days}: at most {_MOST_DAYS}, since our measurements expire after 90")
    return arguments


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _show(results: Results) -> None:
    console = Console(highlight=False, width=150)
    for table in report.tables(results):
        console.print(table.on_terminal())
    if results.wrong:
        console.print(f"[bold red]the two sides disagree {results.wrong} times: the figures are worth nothing")


def _tell(line: str) -> None:
    """Progress, which is not the result."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
