"""The model with a rule broken: an edit of its text. What finds nothing to edit any more fails."""

from __future__ import annotations

import inspect
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from .schedule import play


class Edit(NamedTuple):
    """In a function, `old`, which is there once, becomes `new`."""

    where: Callable[..., Any]
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """One or several edits under the name of the rule that they break."""

    rule: str
    edits: tuple[Edit, ...]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Meanwhile the functions of this process are edited."""
        by_function: defaultdict[Callable[..., Any], list[Edit]] = defaultdict(list)
        for edit in self.edits:
            by_function[edit.where].append(edit)
        with ExitStack() as edited:
            for function, edits in by_function.items():
                edited.enter_context(_exchanged(function, edits))
            yield


class Row(NamedTuple):
    """With these broken, the schedule of this seed goes wrong. `faults`: only these happen in it.

    Where there are several, they cover for each other: with one of them kept, it does not.
    """

    seed: int
    mutants: tuple[Mutant, ...]
    faults: tuple[str, ...]

    @property
    def name(self) -> str:
        return " + ".join(mutant.rule for mutant in self.mutants)

    def is_caught(self, seed: int) -> bool:
        return not self._is_exact(seed, *self.mutants)

    def is_covered(self, seed: int) -> bool:
        """Whether it is exact with any one of them kept."""
        return all(self._is_exact(seed, *(one for one in self.mutants if one is not kept)) for kept in self.mutants)

    def _is_exact(self, seed: int, *mutants: Mutant) -> bool:
        with Mutant("", tuple(edit for mutant in mutants for edit in mutant.edits)).at_work():
            return play(seed, faults=self.faults or None).exact


def row(seed: int, *mutants: Mutant, faults: tuple[str, ...] = ()) -> Row:
    return Row(seed, mutants, faults)


@contextmanager
def _exchanged(function: Callable[..., Any], edits: list[Edit]) -> Iterator[None]:
    """Exchange the code of a function, wherever it has been imported to."""
    text = textwrap.dedent(inspect.getsource(function))
    for _, old, new in edits:
        assert text.count(old) == 1, f"{function.__qualname__}: expected once, found {text.count(old)} times: {old}"
        text = text.replace(old, new)
    scope = dict(function.__globals__)
    exec(text, scope)
    before = function.__code__
    function.__code__ = scope[function.__name__].__code__
    try:
        yield
    finally:
        function.__code__ = before
