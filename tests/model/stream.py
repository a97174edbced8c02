"""The stream of one shard and its consumer group: what Redis itself does, as far as the protocol rests on it."""

from __future__ import annotations

from collections import Counter
from copy import copy
from typing import Any, NamedTuple

from .planning import NO_ID, Batch, Delivered, EntryId, Event
from .settings import CLAIM_IDLE_MS, CLAIM_LOOKS_AT, CONSUMER_IDLE_MS, NODE
from .steps import Clock, NoGroup


class Pending(NamedTuple):
    """An entry that was delivered to a consumer, and not acknowledged yet."""

    consumer: str
    since_ms: int
    deliveries: int


class Stream:
    """Each method is one step. All values are immutable, so that a snapshot is a shallow copy."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.replication_id = 0
        self.entries: dict[EntryId, Event] = {}
        self.entries_added = 0
        self.last_added = NO_ID
        #: The group: its consumers with the times when they were last seen. None: there is no group.
        self.consumers: dict[str, int] | None = None
        self.last_delivered = NO_ID
        self.pending: dict[EntryId, Pending] = {}
        self.epoch = 0
        self.epoch_base = 0
        self.ledger: Counter[str] = Counter()

    # A replica: an earlier consistent state, and a server of its own

    def snapshot(self) -> dict[str, Any]:
        return {name: copy(value) for name, value in vars(self).items() if name not in ("clock", "replication_id")}

    def restore(self, snapshot: dict[str, Any]) -> None:
        vars(self).update({name: copy(value) for name, value in snapshot.items()})
        self.replication_id += 1

    # Producers, and strangers

    def add(self, event: Event, number: int) -> EntryId:
        """XADD. Ids do not run back where the clock does. `number` is new: no id comes again, not after a failover."""
        entry_id = (self.next_id_ms(), number)
        self.entries[entry_id] = event
        self.last_added = entry_id
        self.entries_added += 1
        return entry_id

    def next_id_ms(self) -> int:
        return max(self.clock.now_ms, self.last_added[0])

    def destroy_group(self) -> None:
        self.consumers = None
        self.pending = {}

    # The group

    def ensure_group(self) -> None:
        """From the first entry that is left on; the ledger begins a new epoch."""
        if self.consumers is None:
            self.consumers = {}
            self.last_delivered = NO_ID
            self.ledger.clear()
            self.epoch += 1
            self.epoch_base = self.entries_added - len(self.entries)

    def read_new(self, consumer: str, count: int) -> Batch:
        """XREADGROUP >: entries that were never delivered."""
        self._is_seen(consumer)
        fresh = [entry_id for entry_id in self.entries if entry_id > self.last_delivered][:count]
        for entry_id in fresh:
            self.pending[entry_id] = Pending(consumer, self.clock.now_ms, 1)
            self.last_delivered = entry_id
        return self._batch(fresh)

    def read_own(self, consumer: str, after: EntryId, count: int) -> Batch:
        """XREADGROUP from an id: what this consumer has pending."""
        self._is_seen(consumer)
        own = [entry_id for entry_id, one in self.pending.items() if one.consumer == consumer and entry_id > after]
        self._deliver(own[:count], consumer)
        return self._batch(own[:count])

    def claim(self, consumer: str, cursor: EntryId, count: int) -> tuple[EntryId, Batch]:
        """XAUTOCLAIM: take over what has been idle for long. A call looks at a part: its answer says where to go on.

        Entries found deleted are counted as lost in the same step, as Redis tells them only once.
        """
        self._is_seen(consumer)
        claimed: list[EntryId] = []
        ahead = [entry_id for entry_id in self.pending if entry_id >= cursor]
        next_cursor = ahead[CLAIM_LOOKS_AT] if len(ahead) > CLAIM_LOOKS_AT else NO_ID
        for entry_id in ahead[:CLAIM_LOOKS_AT]:
            if len(claimed) == count:
                next_cursor = entry_id
                break
            if entry_id not in self.entries:
                del self.pending[entry_id]
                self.ledger["lost"] += 1
            elif self.clock.now_ms - self.pending[entry_id].since_ms >= CLAIM_IDLE_MS:
                claimed.append(entry_id)
        self._deliver(claimed, consumer)
        told = [Delivered(one, self.entries[one], self.pending[one].deliveries) for one in claimed]
        return next_cursor, Batch(told, self.clock.now_ms)

    def acknowledge(self, entry_id: EntryId, term: str) -> bool:
        """XACK. The ledger counts what XACK says was still pending: no entry has two outcomes."""
        acknowledged = self.pending.pop(entry_id, None) is not None
        self.ledger[term] += acknowledged
        return acknowledged

    def retire(self) -> None:
        """Remove consumers that have gone: idle, and with nothing pending, which would go with them."""
        busy = {one.consumer for one in self.pending.values()}
        for consumer, seen_ms in list((self.consumers or {}).items()):
            if consumer not in busy and self.clock.now_ms - seen_ms >= CONSUMER_IDLE_MS:
                self._delete_consumer(consumer)

    def trim(self, retention_ms: int) -> None:
        """XTRIM MINID ~: never past the low watermark, nor the retention."""
        watermark_ms = self.low_watermark_ms()
        if watermark_ms is None:
            return
        keep_from_ms = min(watermark_ms, self.clock.now_ms - retention_ms)
        old = [entry_id for entry_id in self.entries if entry_id[0] < keep_from_ms]
        for entry_id in old[: len(old) // NODE * NODE]:
            del self.entries[entry_id]

    # Looking

    def now_ms(self) -> int:
        return self.clock.now_ms

    def low_watermark_ms(self) -> int | None:
        """Everything added before is committed: the oldest pending entry, the first undelivered one, or now.

        None where there is no group: then nothing is known, nothing is closed, nothing is forgotten.
        """
        if self.consumers is None:
            return None
        oldest_pending = next(iter(self.pending), (self.clock.now_ms, 0))
        first_undelivered = next(iter(self.undelivered()), (self.clock.now_ms, 0))
        return min(self.clock.now_ms, oldest_pending[0], first_undelivered[0])

    def undelivered(self) -> list[EntryId]:
        return [entry_id for entry_id in self.entries if entry_id > self.last_delivered]

    def imbalance(self) -> int:
        """Entries of this epoch that no term of the ledger accounts for."""
        accounted = self.ledger.total() + len(self.pending) + len(self.undelivered())
        return self.entries_added - self.epoch_base - accounted

    def _is_seen(self, consumer: str) -> None:
        if self.consumers is None:
            raise NoGroup
        self.consumers[consumer] = self.clock.now_ms

    def _deliver(self, entry_ids: list[EntryId], consumer: str) -> None:
        for entry_id in entry_ids:
            deliveries = self.pending[entry_id].deliveries + 1
            self.pending[entry_id] = Pending(consumer, self.clock.now_ms, deliveries)

    def _batch(self, entry_ids: list[EntryId]) -> Batch:
        return Batch([Delivered(one, self.entries.get(one)) for one in entry_ids], self.clock.now_ms)

    def _delete_consumer(self, consumer: str) -> None:
        """XGROUP DELCONSUMER discards what is pending, without a word."""
        assert self.consumers is not None
        del self.consumers[consumer]
        self.pending = {entry_id: one for entry_id, one in self.pending.items() if one.consumer != consumer}
