"""What long work shows of itself."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_LINE_EVERY_S: Final = 5.0


class SignOfLife:
    """Tells on standard error how far long work has come: a bar on a terminal, elsewhere a line every few seconds."""

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(what, total=total, completed=done)
        self._what, self._total, self._done = what, total, done
        self._next_line_s = time.monotonic() + _LINE_EVERY_S

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def advance(self, done: int) -> None:
        self._done += done
        self._bar.advance(self._task, done)
        if self._bar.disable and time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + _LINE_EVERY_S
            click.echo(f"{self._what}: {self._done} of {self._total}", err=True)
