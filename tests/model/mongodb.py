"""MongoDB: a collection in which nothing is unique and nothing is replaced, and the requests for erasure.

An insert only ever adds, a delete takes whatever is exactly named, twins stay twins. Each method is one step; inserts
and deletes of several documents may break off anywhere, so roles make them one by one here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from streamproc.core.revisions import Stored
from streamproc.core.windows import WindowKey


@dataclass(frozen=True, slots=True)
class Erasure:
    """A request: every window of the user up to the one that starts at `covered_start_ms`. And how far it has come."""

    number: int
    user: str
    asked_ms: int
    covered_start_ms: int
    first_pass_ms: int | None = None
    completed_ms: int | None = None


class MongoDB:
    def __init__(self) -> None:
        self.documents: list[Stored] = []
        self.erasures: dict[int, Erasure] = {}

    def look_up(self, windows: Iterable[WindowKey]) -> dict[WindowKey, list[Stored]]:
        """Everything that is stored of these."""
        wanted = set(windows)
        found: defaultdict[WindowKey, list[Stored]] = defaultdict(list)
        for document in self.documents:
            if document.key in wanted:
                found[document.key].append(document)
        return found

    def insert(self, document: Stored) -> None:
        self.documents.append(document)

    def delete(self, doomed: Stored) -> None:
        """By window, revision and write: twins of one revision are told apart by their write."""
        self.documents = [one for one in self.documents if one[:3] != doomed[:3]]

    def superseded(self) -> list[Stored]:
        """Of every window all but the highest."""
        highest: dict[WindowKey, tuple[int, int]] = {}
        for one in self.documents:
            highest[one.key] = max(highest.get(one.key, (0, 0)), (one.revision, one.write))
        return [one for one in self.documents if (one.revision, one.write) < highest[one.key]]

    def erase_user(self, user: str, covered_start_ms: int) -> None:
        self.documents = [
            one for one in self.documents if one.key.user_id != user or one.key.start_ms > covered_start_ms
        ]

    # Erasures

    def ask(self, erasure: Erasure) -> None:
        self.erasures[erasure.number] = erasure

    def load(self, number: int) -> Erasure:
        return self.erasures[number]

    def unfinished(self) -> list[Erasure]:
        return [one for one in self.erasures.values() if one.completed_ms is None]

    def all_erasures(self) -> list[Erasure]:
        return list(self.erasures.values())

    def record(self, number: int, at_ms: int, is_second: bool) -> None:
        """A pass is through. Several may say so: the first time is kept."""
        one = self.erasures[number]
        if is_second:
            self.erasures[number] = replace(one, completed_ms=min(at_ms, one.completed_ms or at_ms))
        else:
            self.erasures[number] = replace(one, first_pass_ms=min(at_ms, one.first_pass_ms or at_ms))
