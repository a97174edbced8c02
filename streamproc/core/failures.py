"""How a failure is told to a person: the cause in plain words, and the remedy. The words are with each store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Explanation(NamedTuple):
    """What is wrong and what to do about it, each a sentence without its full stop.

    Attributes:
        waiting_helps: it may mend itself, or be mended elsewhere. Else this process needs other settings.
    """

    cause: str
    remedy: str
    waiting_helps: bool = True

    def __str__(self) -> str:
        return f"{self.cause}. {self.remedy}"


class Rule(NamedTuple):
    """What explains errors of these kinds, whose text has these words (a pattern) and which have one of these codes."""

    kinds: tuple[type[Exception], ...]
    words: str
    explanation: Explanation
    codes: tuple[int, ...] = ()

    def fits(self, error: BaseException, said: str) -> bool:
        if not isinstance(error, self.kinds) or (self.codes and getattr(error, "code", None) not in self.codes):
            return False
        return re.search(self.words, said, re.IGNORECASE) is not None


def first_fitting(rules: Iterable[Rule], error: BaseException, said: str) -> Explanation | None:
    """The explanation of the first rule that fits an error and what it says."""
    return next((rule.explanation for rule in rules if rule.fits(error, said)), None)
