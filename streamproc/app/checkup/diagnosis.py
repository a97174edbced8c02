"""A check, what it may find, and what is to be done then: said once, for the command and for docs/doctor.md."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """How something stands. `UNKNOWN`: it could not be looked at, and may be anything."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    UNKNOWN = "unknown"


class Diagnosis(NamedTuple):
    """What one check found.

    Attributes:
        check: the check's name.
        found: what is so, for a person; never a password.
        remedy: what to do about it; '' where nothing is to be done.
    """

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


class Trouble(NamedTuple):
    """A way in which a check may not be green: when, and what is to be done. The remedy may have {places}."""

    verdict: Verdict
    when: str
    remedy: str


class Check:
    """One thing that is looked at.

    Args:
        name: as it is shown.
        asks: what green means, in a few words.
        troubles: every other outcome by name.
    """

    def __init__(self, name: str, asks: str, **troubles: Trouble) -> None:
        self.name = name
        self.asks = asks
        self.troubles: Mapping[str, Trouble] = troubles

    def ok(self, found: str) -> Diagnosis:
        return Diagnosis(self.name, Verdict.GREEN, found)

    def trouble(self, name: str, found: str, **places: object) -> Diagnosis:
        """One of the check's troubles, with its remedy's places filled in."""
        trouble = self.troubles[name]
        remedy = trouble.remedy.format(**places) if places else trouble.remedy
        return Diagnosis(self.name, trouble.verdict, found, remedy)


class Section(NamedTuple):
    """The diagnoses on one subject: a server, a shard, the clocks."""

    subject: str
    diagnoses: list[Diagnosis]


def yellow(when: str, remedy: str) -> Trouble:
    return Trouble(Verdict.YELLOW, when, remedy)


def red(when: str, remedy: str) -> Trouble:
    return Trouble(Verdict.RED, when, remedy)


def unknown(when: str, remedy: str) -> Trouble:
    return Trouble(Verdict.UNKNOWN, when, remedy)
