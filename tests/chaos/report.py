"""The table of a campaign, as text or Markdown, and what to do about a row that is not zero."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from .campaign import Row

_COLUMNS = ("fault", "times caused", "segments", "lost", "counted twice", "wrong", "several measurements", "ledger")
_MOST_TOLD = 40


def table(rows: Sequence[Row], *, markdown: bool) -> str:
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
    lines = [
        [cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        for row in cells
    ]
    if not markdown:
        return "\n".join("  ".join(line).rstrip() for line in lines)
    rule = ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def circumstances(seed: int, seconds: float, versions: str) -> str:
    """What a table holds for."""
    return (
        f"Seed {seed}, {seconds:.0f} s, {versions}, Python {platform.python_version()}; {_processor()}, "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}."
    )


def trouble(rows: Sequence[Row], seed: int) -> str:
    """What differs in each row that did not pass, and how to repeat it; '' where all passed."""
    parts = []
    for row in rows:
        if not row.passed:
            told = row.verdict.told or ["it did not take place"]
            more = [f"... and {len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
            repeat = f'Repeat it: python -m tests.chaos --seed {seed} --only "{row.fault}"'
            parts.append("\n  ".join([f"{row.fault}:", *told[:_MOST_TOLD], *more, repeat]))
    return "\n".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    return (row.fault, str(row.times), str(row.verdict.segments), *map(str, row.verdict.numbers))


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
