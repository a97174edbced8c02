"""What a person sees of the demo: a line that lives while it runs, two columns that must agree at the end."""

from __future__ import annotations

import time
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from streamproc.demo.oracle import Kind
from streamproc.demo.play import Progress, Result

_LINE_EVERY_S: Final = 5.0
_DIFFERENCES_SHOWN: Final = 20


class Screen:
    """Shows progress: a live table on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._last_line_s = 0.0

    def __enter__(self) -> Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        if self._live:
            self._live.update(_table(progress))
        elif time.monotonic() - self._last_line_s >= _LINE_EVERY_S:
            self._last_line_s = time.monotonic()
            self._console.print(
                f"published {progress.published}  counted {progress.counted}  duplicates {progress.duplicates}  "
                f"late {progress.late}  dead {progress.dead}  open windows {progress.open_windows}  "
                f"stored {progress.stored}  lag {progress.lag}",
                highlight=False,
                soft_wrap=True,
            )
        if progress.note:
            self._console.print(progress.note, highlight=False)
            progress.note = ""


def summary(result: Result) -> dict[str, Any]:
    """The result as plain data."""
    documents, published = result.documents, result.oracle.published
    dead = result.dead_by_reason
    return {
        "exact": result.exact,
        "rows": [
            {"what": "windows", "published": result.oracle.windows, "stored": len(documents)},
            {
                "what": "segments",
                "published": result.oracle.segments,
                "stored": sum(document["segments_processed"] for document in documents),
            },
            {"what": "counted by the ledger", "published": result.oracle.segments, "stored": result.counted},
            {"what": "errors", "published": result.oracle.errors, "stored": sum(d["error_count"] for d in documents)},
            {"what": "dead: malformed", "published": published[Kind.MALFORMED], "stored": dead.get("malformed", 0)},
            {"what": "dead: too late", "published": published[Kind.TOO_LATE], "stored": dead.get("too_late", 0)},
            {"what": "dead: future", "published": published[Kind.FUTURE], "stored": dead.get("future", 0)},
        ],
        "late": published[Kind.LATE],
        "duplicates": published[Kind.DUPLICATE],
        "ledger_imbalance": result.imbalance,
        "unsettled": result.unsettled,
        "differences": [str(difference) for difference in result.differences],
    }


def print_result(console: Console, result: Result) -> None:
    """Published truth beside what MongoDB holds, and the verdict."""
    data = summary(result)
    table = Table("", "published", "stored", title="published truth, and what the servers hold", title_justify="left")
    for row in data["rows"]:
        table.add_row(row["what"], f"{row['published']:,}", f"{row['stored']:,}")
    console.print(table)
    console.print(
        f"on the way: {data['late']} late events, {data['duplicates']} repeated ones; "
        f"ledger imbalance {data['ledger_imbalance']}",
        highlight=False,
    )
    if result.unsettled:
        console.print(f"not stored when patience ended: {result.unsettled}", highlight=False)
    for difference in result.differences[:_DIFFERENCES_SHOWN]:
        console.print(str(difference), highlight=False, markup=False)
    if len(result.differences) > _DIFFERENCES_SHOWN:
        console.print(f"... and {len(result.differences) - _DIFFERENCES_SHOWN} more differences", highlight=False)
    console.print(f"exact: {'yes' if result.exact else 'no'}", highlight=False)


def _table(progress: Progress) -> Table:
    table = Table("published", "counted", "duplicates", "late", "dead", "open windows", "stored", "lag")
    table.add_row(
        *(
            f"{number:,}"
            for number in (
                progress.published,
                progress.counted,
                progress.duplicates,
                progress.late,
                progress.dead,
                progress.open_windows,
                progress.stored,
                progress.lag,
            )
        )
    )
    return table
