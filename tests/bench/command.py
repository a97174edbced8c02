"""What every bench command ends with: its tables, the machine they were taken on, and 1 if anything stored is wrong."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from . import machine


class Measured(NamedTuple):
    """What a bench found, and how many stored windows differ from what was published."""

    tables: list[Table]
    wrong: int = 0


Bench = Callable[[argparse.Namespace], Coroutine[Any, Any, Measured]]


def main(parser: argparse.ArgumentParser, bench: Bench) -> int:
    """Run a bench as a command. Returns the exit code."""
    found = asyncio.run(bench(parser.parse_args()))
    console = Console()
    for table in found.tables:
        console.print(table)
    console.print(machine.described())
    return 1 if found.wrong else 0


def markdown(table: Table) -> str:
    """A table as a page has it."""
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    rule = ["---" if column.justify == "left" else "---:" for column in table.columns]
    rows = [[str(column.header) for column in table.columns], rule, *map(list, zip(*cells, strict=True))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
