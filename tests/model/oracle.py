"""What must be true, worked out from what was published and asked for, and from nothing that a role or script decided.

At any time: what a reader sees of a window never becomes less; nothing is stored before all that came in time is in it;
the ledger balances. In the end: one measurement for each window, of exactly its segments; nothing left anywhere; of the
erased nothing. After Redis lost data: as many segments as survived, at least, and none that was never published.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from streamproc.core.revisions import Stored
from streamproc.core.windows import WindowKey

from .mongodb import Erasure, MongoDB
from .planning import EntryId, Event
from .settings import WINDOWING
from .shard import Shard

_LENGTH_MS: Final = WINDOWING.length_ms


@dataclass(slots=True)
class Published:
    """One entry that a producer added. `lost`: Redis has forgotten it, or a stranger deleted it."""

    entry_id: EntryId
    event: Event
    kind: str
    lost: bool = False


class Truth:
    """What was published, and what follows from it.

    Attributes:
        calm: whether neither Redis nor its clock has gone back so far.
        one_epoch: whether the group has been there all the time.
    """

    def __init__(self, shard: Shard, mongodb: MongoDB) -> None:
        self._shard = shard
        self._mongodb = mongodb
        self.entries: list[Published] = []
        self.calm = True
        self.one_epoch = True
        self.deleted_by_strangers = 0
        self._seen: dict[WindowKey, tuple[int, int]] = {}

    def published(self, entry_id: EntryId, event: Event) -> None:
        self.entries.append(Published(entry_id, event, kind(event, entry_id[0])))

    def loses(self, numbers: range) -> None:
        """Redis has forgotten these entries, and whatever else it was told since."""
        self.calm = False
        for number in numbers:
            self.entries[number].lost = True

    def deleted(self, entry_id: EntryId) -> None:
        """By a stranger, while it was pending: whoever has read it may count it all the same."""
        self.deleted_by_strangers += 1
        for one in self.entries:
            one.lost |= one.entry_id == entry_id

    def is_erased(self, user: str, start_ms: int) -> bool:
        return any(one.user == user and start_ms <= _covered_ms(one) for one in self._mongodb.erasures.values())

    # At any time

    def look(self) -> Iterator[str]:
        """Whenever something was written to MongoDB."""
        visible: dict[WindowKey, tuple[int, int]] = {}
        for one in self._mongodb.documents:
            visible[one.key] = max(visible.get(one.key, (0, 0)), (one.revision, one.write))
            if self.calm and (one.revision, one.write) > self._seen.get(one.key, (0, 0)):
                yield from self._is_complete(one)
        for key, rank in self._seen.items():
            if visible.get(key, (0, 0)) < rank and not self.is_erased(key.user_id, key.start_ms):
                yield f"{key} was {rank}, is {visible.get(key)}"
        self._seen = visible

    def _is_complete(self, document: Stored) -> Iterator[str]:
        """A backlog holds windows open."""
        start_ms = document.key.start_ms
        if self.is_erased(document.key.user_id, start_ms):
            return
        until_ms = start_ms + _LENGTH_MS + WINDOWING.grace_ms
        good = [
            one for one in self.entries if one.kind == "good" and not one.lost and window(one.event) == document.key
        ]
        missing = {one.event.segment for one in good if one.entry_id[0] < until_ms} - set(document.digest.split())
        if missing:
            yield f"{document} was stored without {sorted(missing)}, which came in time"

    def balances(self) -> Iterator[str]:
        if self._shard.consumers is not None and self._shard.imbalance():
            yield f"the ledger is out by {self._shard.imbalance()}: {dict(self._shard.ledger)}"

    # In the end

    def of_the_erased(self) -> Iterator[str]:
        """What is left of them, anywhere."""
        shard = self._shard
        stored = {one.key for one in self._mongodb.documents}
        for place in (stored, shard.windows, shard.open, shard.taken, shard.closed):
            for key in place:
                if self.is_erased(key.user_id, key.start_ms):
                    yield f"{key} is of somebody erased"
        letters = [(one.entry_id, one.event) for one in shard.dead]
        for entry_id, event in [*shard.entries.items(), *letters]:
            asked_ms = [one.asked_ms for one in self._mongodb.erasures.values() if one.user == event.user]
            if entry_id[0] <= max(asked_ms, default=-1) or self.is_erased(event.user, window(event).start_ms):
                yield f"entry {entry_id} is of somebody erased"

    def unlike_redis(self) -> Iterator[str]:
        """Redis holds as many segments of a window as are stored, or more: then these are stored."""
        for key, (revision, digest) in self._newest().items():
            held = self._shard.windows.get(key, ())
            if len(held) >= revision and sorted(held) != digest:
                yield f"{key}: Redis holds {sorted(held)}, stored are {digest}"

    def verdict(self) -> Iterator[str]:
        """Everything is stored, forgotten, and swept."""
        yield from self._stored_exactly()
        yield from self.of_the_erased()
        yield from self.balances()
        yield from self._left_over()

    def _stored_exactly(self) -> Iterator[str]:
        for key, number in Counter(one.key for one in self._mongodb.documents).items():
            if number > 1:
                yield f"{number} measurements of {key}"
        newest, published, survived = self._newest(), self._windows(), self._windows(survivors=True)
        for key in sorted(set(newest) | set(published)):
            if self.is_erased(key.user_id, key.start_ms):
                continue
            revision, stored = newest.get(key, (0, []))
            if revision != len(stored) or len(stored) != len(set(stored)):
                yield f"{key}: a segment counts twice in {stored}"
            if not set(stored) <= published.get(key, set()):
                yield f"{key}: {stored} are more than was published, {sorted(published.get(key, ()))}"
            if len(stored) < len(survived.get(key, ())):
                yield f"{key}: {stored} is less than {sorted(survived[key])}"

    def _left_over(self) -> Iterator[str]:
        shard = self._shard
        places = ("pending", "undelivered", "windows", "open", "taken", "closed")
        left = {name: getattr(shard, name) for name in places} | {"undelivered": shard.undelivered()}
        for name, found in left.items():
            if found:
                yield f"{name}: {found}"
        if self.calm and self.one_epoch:
            yield from self._outcomes()

    def _outcomes(self) -> Iterator[str]:
        """What the ledger counted. Entries of an erased user may have been judged, or refused."""
        ledger = self._shard.ledger
        for entry_id, number in Counter(letter.entry_id for letter in self._shard.dead).items():
            if number > 1:
                yield f"{number} dead letters of entry {entry_id}"
        windows, certain = self._windows(), self._windows(survivors=True)
        least = sum(len(segments) for key, segments in certain.items() if not self.is_erased(key.user_id, key.start_ms))
        dead = [one for one in self.entries if one.kind not in ("good", "stranger")]
        judged = [one for one in dead if not (one.lost or self.is_erased(one.event.user, window(one.event).start_ms))]
        expected = {
            "counted": (least - self.deleted_by_strangers, sum(map(len, windows.values()))),
            "dead_lettered": (len(judged), len(dead)),
            "lost": (0, self.deleted_by_strangers),
        }
        for term, (lowest, most) in expected.items():
            if not lowest <= ledger[term] <= most:
                yield f"{term} should be {lowest} to {most}, is {ledger[term]}"

    def _newest(self) -> dict[WindowKey, tuple[int, list[str]]]:
        """Of each window what a reader takes."""
        ranked = sorted(self._mongodb.documents, key=lambda one: (one.revision, one.write))
        return {one.key: (one.revision, one.digest.split()) for one in ranked}

    def _windows(self, *, survivors: bool = False) -> dict[WindowKey, set[str]]:
        windows: defaultdict[WindowKey, set[str]] = defaultdict(set)
        for one in self.entries:
            if one.kind == "good" and not (survivors and one.lost):
                windows[window(one.event)].add(one.event.segment)
        return windows


def kind(event: Event, added_ms: int) -> str:
    """What an event is that was added at this time."""
    if event.flaw:
        return event.flaw
    if event.received_ms > added_ms + WINDOWING.future_ms:
        return "future"
    end_ms = event.received_ms // _LENGTH_MS * _LENGTH_MS + _LENGTH_MS
    return "too late" if added_ms > end_ms + WINDOWING.horizon_ms else "good"


def window(event: Event) -> WindowKey:
    return WindowKey(event.received_ms // _LENGTH_MS * _LENGTH_MS, "channel", event.session, event.user)


def _covered_ms(erasure: Erasure) -> int:
    """The start of the window that the time of the request falls in, and the future tolerance."""
    return (erasure.asked_ms + WINDOWING.future_ms) // _LENGTH_MS * _LENGTH_MS
