"""The consumer: reads a batch, plans what becomes of each entry, commits. Any number of them, disposable."""

from __future__ import annotations

from .planning import NO_ID, Batch, Delivered, Letter, plan
from .settings import BATCH, CLAIM_EVERY_MS, POISON_DELIVERIES
from .shard import Shard
from .steps import PAUSE, NoGroup, Role, Trouble

_PAUSE_MS = 500
_BACK_OFF_MS = 200


class Consumer:
    """One consumer in one pod. Nothing of what it remembers is needed by anybody."""

    def __init__(self, shard: Shard, name: str) -> None:
        self._shard = shard
        self._name = name
        self._in_doubt = False
        self._doubted_again = False
        self._claim_due = True
        self._claim_cursor = NO_ID
        self._own_cursor = NO_ID

    def live(self) -> Role:
        """A batch is committed when the next has been read."""
        ahead: Batch | None = None
        claims_at_ms = 0
        yield PAUSE, 0
        while True:
            if claims_at_ms <= self._shard.clock.now_ms:
                claims_at_ms = self._shard.clock.now_ms + CLAIM_EVERY_MS
                self.look_for_abandoned()
            try:
                before, ahead = ahead, None
                ahead = yield from self.next_batch()
                if before:
                    yield from self.commit(before)
            except Trouble as trouble:
                self.doubt()
                yield PAUSE, _BACK_OFF_MS
                if isinstance(trouble, NoGroup):
                    yield from self._ensure_group()
                continue
            if not ahead.entries:
                ahead = None
                yield PAUSE, _PAUSE_MS

    def run_once(self) -> Role:
        """One batch. Returns whether there is nothing left to do."""
        batch: Batch = yield from self.next_batch()
        if batch.entries:
            yield from self.commit(batch)
        return not batch.entries and not self._claim_due

    def doubt(self) -> None:
        """Something failed on the way: what was in hand is still pending. Read own pending entries next."""
        self._doubted_again = self._in_doubt
        self._in_doubt = True

    def look_for_abandoned(self) -> None:
        self._claim_due = True

    def next_batch(self) -> Role:
        """Own pending entries after any doubt; else, when it is time, what others left behind; else new ones."""
        while self._in_doubt:
            batch: Batch = yield self._shard.read_own, self._name, self._own_cursor, BATCH
            self._own_cursor = batch.entries[-1].entry_id if batch.entries else NO_ID
            if batch.entries:
                return batch
            self._in_doubt, self._doubted_again = self._doubted_again, False
        if self._claim_due:
            cursor, batch = yield self._shard.claim, self._name, self._claim_cursor, BATCH
            self._claim_cursor = cursor
            if batch.entries:
                return batch
            self._claim_due = self._claim_cursor != NO_ID  # until the whole pending list has been looked through
        batch = yield self._shard.read_new, self._name, BATCH
        return batch

    def commit(self, batch: Batch) -> Role:
        """What was delivered often may be what ended its consumers: it is tried alone, marked; once."""
        rest: list[Delivered] = []
        letters = []
        for entry in batch.entries:
            if entry.deliveries < POISON_DELIVERIES or entry.event is None:
                rest.append(entry)
            elif (yield self._shard.suspect, entry.entry_id, self._name):
                letters.append(Letter(entry.entry_id, "poison", entry.event))
            else:
                yield self._shard.commit, plan([entry], batch.now_ms)
        planned = plan(rest, batch.now_ms)
        yield self._shard.commit, planned._replace(dead=planned.dead + letters)

    def _ensure_group(self) -> Role:
        try:
            yield (self._shard.ensure_group,)
        except Trouble:
            yield PAUSE, _BACK_OFF_MS
