"""The eraser: removes a user up to a window that is fixed when it is asked for, completes what was interrupted.

ask      write down whom, and up to which window
first    every layer; from now on commits refuse the covered windows
second   the same, once a flush that was under way must have ended
again    the same, regularly, and whenever Redis is another than before
"""

from __future__ import annotations

from random import Random

from .mongodb import Erasure, MongoDB
from .settings import VISIBILITY_MS, WINDOWING
from .shard import Shard
from .steps import Role, Trouble


class Eraser:
    def __init__(self, shard: Shard, mongodb: MongoDB, rng: Random) -> None:
        self._shard = shard
        self._mongodb = mongodb
        self._rng = rng

    def ask(self, user: str) -> Role:
        """Fix what is covered. When this returns it is written down, and anybody will carry it out."""
        now_ms = yield (self._shard.now_ms,)
        covered_start_ms = WINDOWING.start_of(now_ms + WINDOWING.future_ms)
        yield self._mongodb.ask, Erasure(self._rng.getrandbits(48), user, now_ms, covered_start_ms)

    def run_once(self) -> Role:
        """Go on with what is not complete, and apply everything again when it is time."""
        for erasure in (yield (self._mongodb.unfinished,)):
            try:
                yield from self._advance(erasure.number)
            except Trouble:
                continue
        replication_id = yield (self._shard.erase_turn,)
        if replication_id is None:
            return
        away = False
        for erasure in _newest_of_each((yield (self._mongodb.all_erasures,))):
            away |= yield from self._erase(erasure)
        if away:
            raise Trouble
        yield self._shard.end_erase_turn, replication_id

    def _advance(self, number: int) -> Role:
        erasure: Erasure = yield self._mongodb.load, number
        now_ms = yield (self._shard.now_ms,)
        if erasure.completed_ms is not None:
            return
        if erasure.first_pass_ms is not None and now_ms < erasure.first_pass_ms + VISIBILITY_MS:
            return
        away = yield from self._erase(erasure)
        if away:
            return
        now_ms = yield (self._shard.now_ms,)
        yield self._mongodb.record, number, now_ms, erasure.first_pass_ms is not None

    def _erase(self, erasure: Erasure) -> Role:
        """One pass through both layers. Returns whether one was away; the other is erased all the same."""
        away = False
        try:
            yield from self._erase_in_redis(erasure)
        except Trouble:
            away = True
        try:
            yield self._mongodb.erase_user, erasure.user, erasure.covered_start_ms
        except Trouble:
            away = True
        return away

    def _erase_in_redis(self, erasure: Erasure) -> Role:
        shard, user, covered_start_ms = self._shard, erasure.user, erasure.covered_start_ms
        yield shard.erase_windows, user, covered_start_ms, []
        while windows := (yield shard.covered, user, covered_start_ms):
            yield shard.erase_windows, user, covered_start_ms, windows
        entry_ids = yield shard.entries_of, user, covered_start_ms, erasure.asked_ms
        yield shard.erase_entries, entry_ids
        yield shard.erase_letters, user, covered_start_ms, erasure.asked_ms


def _newest_of_each(erasures: list[Erasure]) -> list[Erasure]:
    """Of each user the one that covers most: it erases all that the earlier ones do."""
    newest: dict[str, Erasure] = {}
    for one in sorted(erasures, key=lambda one: (one.covered_start_ms, one.asked_ms)):
        newest[one.user] = one
    return list(newest.values())
