"""The product with one of its rules broken, as an edit of its text. What finds nothing to edit any more fails."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from .redis_under_faults import Rewrite


@dataclass(frozen=True, slots=True)
class Edit:
    """In a script (by name) or a Python function, `old`, which is there once, becomes `new`."""

    where: str | Callable[..., Any]
    old: str
    new: str


class Mutant:
    """One or several edits under the name of the rule that they break."""

    def __init__(self, rule: str, *edits: Edit) -> None:
        self.rule = rule
        self._edits = edits

    def __add__(self, other: Mutant) -> Mutant:
        return Mutant(f"{self.rule}, and {other.rule}", *self._edits, *other._edits)

    def __str__(self) -> str:
        return self.rule

    @contextmanager
    def at_work(self) -> Iterator[Mapping[str, Rewrite]]:
        """Meanwhile the Python of this process is edited. Yields how scripts have to be rewritten."""
        rewrites: dict[str, list[Edit]] = {}
        with ExitStack() as edited:
            for edit in self._edits:
                if isinstance(edit.where, str):
                    rewrites.setdefault(edit.where, []).append(edit)
                else:
                    edited.enter_context(_python(edit.where, edit))
            yield {name: partial(_rewritten, edits=edits) for name, edits in rewrites.items()}


@contextmanager
def _python(function: Callable[..., Any], edit: Edit) -> Iterator[None]:
    """Exchange the code of a function, wherever it has been imported to."""
    before = function.__code__
    scope = dict(function.__globals__)
    exec(_replaced(textwrap.dedent(inspect.getsource(function)), edit), scope)
    function.__code__ = scope[function.__name__].__code__
    try:
        yield
    finally:
        function.__code__ = before


def _rewritten(text: str, *, edits: list[Edit]) -> str:
    for edit in edits:
        text = _replaced(text, edit)
    return text


def _replaced(text: str, edit: Edit) -> str:
    count = text.count(edit.old)
    assert count == 1, f"expected once, found {count} times: {edit.old}"
    return text.replace(edit.old, edit.new)
