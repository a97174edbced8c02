"""A stand-in for the time-series collection: a list of documents, in which nothing is unique and nothing replaced.

It has the interface of `MeasurementStore` and is as unhelpful as the real collection: an insert only ever adds, a
delete takes all that is exactly named, twins stay twins. `test_measurements_stand_in.py` holds the two together: the
same operations leave the same in both. What a flush needs of MongoDB itself is proven on a real one
(tests/integration); this one is there to be away, to break off in the middle, and to answer late.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from pymongo.errors import AutoReconnect

from streamproc.core.revisions import Stored
from streamproc.core.windows import WindowKey
from streamproc.stores.mongo.insertion import Refused

from .faults import Call, carry_out

Document = dict[str, Any]
_EPOCH = datetime.fromtimestamp(0, UTC)


class SimulatedMeasurements:
    """Measurements in memory.

    Attributes:
        away: every call fails without effect, for as long as it is true.
        receded: what a reader could see of an hour and then not any more, without its user having been erased.
        on_insert: is told of all that is inserted.
        is_erased: whether a window is covered by an erasure that somebody has asked for.
    """

    def __init__(self, rng: Random) -> None:
        self.documents: list[Document] = []
        self.away = False
        self.receded: list[str] = []
        self.on_insert: Callable[[Document], None] = lambda _: None
        self.is_erased: Callable[[WindowKey], bool] = lambda _: False
        self._rng = rng

    async def look_up(self, keys: Iterable[WindowKey]) -> dict[WindowKey, list[Stored]]:
        wanted = list(keys)
        found: dict[WindowKey, list[Stored]] = await self.call("look up", lambda: self._find(wanted))
        return found

    async def insert(self, documents: Iterable[Document]) -> list[Refused]:
        """Unordered: where it breaks off, any part of the documents is stored."""
        for part in self._parts(list(documents)):
            await self.call("insert", partial(self._insert, part))
        return []

    async def delete(self, stored: Iterable[Stored]) -> int:
        deleted = 0
        for part in self._parts(list(stored)):
            deleted += await self.call("delete", partial(self._delete, part))
        return deleted

    async def sweep(self, since_ms: int, until_ms: int) -> int:
        """It looks first, and deletes later: what was inserted in between is none of its business."""
        superseded = await self.call("look for superseded", lambda: self._superseded(since_ms, until_ms))
        return await self.delete(superseded)

    async def erase_user(self, user_id: str, up_to_start_ms: int) -> int:
        """Where it breaks off, some are deleted: now and then it is every other one, before all of them are."""
        deleted = 0
        for step in self._rng.choice(((1,), (2, 1))):
            deleted += await self.call("erase user", partial(self._erase, user_id, up_to_start_ms, step))
        return deleted

    async def count_user(self, user_id: str, up_to_start_ms: int) -> int:
        return len(await self.call("count user", lambda: self._of_user(user_id, up_to_start_ms)))

    def newest(self) -> list[Document]:
        """One for each key: the one that a reader takes."""
        best: dict[WindowKey, Document] = {}
        for document in sorted(self.documents, key=lambda one: _rank(_stored(one))):
            best[_stored(document).key] = document
        return list(best.values())

    async def call(self, name: str, effect: Callable[[], Any]) -> Any:
        """Reach mongod, unless something goes wrong."""

        def reach() -> Any:
            if self.away:
                raise AutoReconnect("mongod is away")
            return effect()

        return await carry_out(Call(name, reach, AutoReconnect("the connection broke")))

    def _parts(self, items: Sequence[Any]) -> list[Sequence[Any]]:
        """Of several items, now and then only some take effect before the rest is tried."""
        if len(items) < 2 or self._rng.random() < 0.5:
            return [items] if items else []
        cut = self._rng.randrange(1, len(items))
        return [items[:cut], items[cut:]]

    def _find(self, wanted: list[WindowKey]) -> dict[WindowKey, list[Stored]]:
        found: dict[WindowKey, list[Stored]] = {key: [] for key in wanted}
        for document in self.documents:
            stored = _stored(document)
            if stored.key in found:
                found[stored.key].append(stored)
        return found

    def _insert(self, documents: Sequence[Document]) -> None:
        self.documents += documents
        for document in documents:
            self.on_insert(document)

    def _delete(self, doomed: Sequence[Stored]) -> int:
        named = {(one.key, *_rank(one)) for one in doomed}
        kept = [one for one in self.documents if (_stored(one).key, *_rank(_stored(one))) not in named]
        deleted = len(self.documents) - len(kept)
        seen = {_stored(one).key: _rank(_stored(one)) for one in self.newest()}
        self.documents = kept
        left = {_stored(one).key: _rank(_stored(one)) for one in self.newest()}
        self.receded += [
            f"{key} was {seen[key]}, is {left.get(key)}"
            for key in seen
            if left.get(key) != seen[key] and not self.is_erased(key)
        ]
        return deleted

    def _erase(self, user_id: str, up_to_start_ms: int, step: int) -> int:
        return self._delete(self._of_user(user_id, up_to_start_ms)[::step])

    def _of_user(self, user_id: str, up_to_start_ms: int) -> list[Stored]:
        everything = map(_stored, self.documents)
        return [one for one in everything if one.key.user_id == user_id and one.key.start_ms <= up_to_start_ms]

    def _superseded(self, since_ms: int, until_ms: int) -> list[Stored]:
        by_key: defaultdict[WindowKey, set[tuple[int, int]]] = defaultdict(set)
        for stored in map(_stored, self.documents):
            if since_ms <= stored.key.start_ms < until_ms:
                by_key[stored.key].add(_rank(stored))
        return [Stored(key, *rank, "") for key, ranks in by_key.items() for rank in sorted(ranks)[:-1]]


def _stored(document: Document) -> Stored:
    metadata = document["metadata"]
    start_ms = (metadata["hour"] - _EPOCH) // timedelta(milliseconds=1)
    key = WindowKey(start_ms, metadata["channel_id"], metadata["session_id"], metadata["user_id"])
    return Stored(key, metadata["revision"], metadata["write"], document["segments_digest"])


def _rank(stored: Stored) -> tuple[int, int]:
    return stored.revision, stored.write
