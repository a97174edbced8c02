"""The model can fail: every rule, broken, leads to a wrong end; of rules that cover for each other, all together."""

from __future__ import annotations

from typing import Final

import pytest

from .breaking import Edit, Mutant, Row
from .mutants import CAUGHT, COVERED
from .schedule import play
from .stream import Stream

#: Schedules in which a rule is broken that another one covers.
_ENOUGH: Final = 15


@pytest.mark.parametrize("row", [*CAUGHT, *COVERED], ids=lambda row: row.name)
def test_a_broken_rule_is_caught(row: Row) -> None:
    assert play(row.seed, faults=row.faults or None).exact
    assert row.is_caught(row.seed), "look for another seed: python -m tests.model 1 20000 --mutants"


@pytest.mark.parametrize("row", COVERED, ids=lambda row: row.name)
def test_a_rule_that_another_covers_does_no_harm_when_it_alone_is_broken(row: Row) -> None:
    for seed in (row.seed, *range(1, _ENOUGH)):
        assert row.is_covered(seed), f"seed {seed}"


def test_an_edit_that_finds_nothing_fails() -> None:
    with pytest.raises(AssertionError, match="found 0 times"), Mutant("none", (Edit(Stream.add, "?", "!"),)).at_work():
        pass
