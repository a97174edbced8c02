"""``make performance``: measure everything, and write the figures into docs/performance.md.

Each figure of that page stands between two marks, and is written by this; the words around them are written by people.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from . import counting, machine, meanwhile, memory, pods, windows
from .command import Bench, Measured, markdown

PAGE: Final = Path(__file__).parents[2] / "docs" / "performance.md"


class Part(NamedTuple):
    """One measurement of the page: its bench, what that is called with, and which columns are drawn over the first."""

    bench: Bench
    parser: Callable[[], argparse.ArgumentParser]
    arguments: Sequence[str] = ()
    plotted: Sequence[str] = ()


PARTS: Final[Mapping[str, Part]] = {
    "counting": Part(counting.bench, counting.parser),
    "windows": Part(windows.bench, windows.parser, plotted=("counted/s", "flushed/s", "worker MB")),
    "meanwhile": Part(meanwhile.bench, meanwhile.parser),
    "memory-valkey": Part(memory.bench, memory.parser, ("--server", "valkey")),
    "memory-redis": Part(memory.bench, memory.parser, ("--server", "redis")),
    "pods": Part(pods.bench, pods.parser),
}


async def measure(part: Part, *more: str) -> Measured:
    """Run a bench with the page's arguments, and `more`."""
    return await part.bench(part.parser().parse_args([*part.arguments, *more]))


def block(part: Part, found: Measured) -> str:
    """What the page has of a part: its tables, and a plot of each column that grows with the first."""
    tables = [f"**{table.title}**\n\n{markdown(table)}" for table in found.tables]
    plots = [plot(found.tables[0], heading) for heading in part.plotted]
    return "\n\n".join([*tables, *plots, f"{machine.described()}."])


def plot(table: Table, heading: str) -> str:
    """A column over the first one, as a chart that Markdown viewers draw (https://mermaid.js.org/syntax/xyChart.html)."""
    columns = {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}
    first = next(iter(columns))
    steps = ", ".join(f'"{cell}"' for cell in columns[first])
    values = ", ".join(cell.replace(",", "") for cell in columns[heading])
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            f'  title "{heading}"',
            f'  x-axis "{first}" [{steps}]',
            f'  y-axis "{heading}" 0 --> {max(float(one) for one in values.split(", ")) * 1.1:.0f}',
            f"  line [{values}]",
            "```",
        ]
    )


def put(page: str, name: str, text: str) -> str:
    """The page with another text between the marks of a part. Raises ValueError where it has no such marks."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    changed, times = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL
    )
    if times != 1:
        raise ValueError(f"{PAGE.name} must have {begin} and {end} once, not {times} times")
    return changed


async def _write(names: Sequence[str]) -> int:
    console, wrong = Console(stderr=True), 0
    for name in names:
        console.print(f"measuring {name}")
        found = await measure(PARTS[name])
        wrong += found.wrong
        PAGE.write_text(put(PAGE.read_text(), name, block(PARTS[name], found)))
        for table in found.tables:
            console.print(table)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_write(sys.argv[1:] or list(PARTS))))
