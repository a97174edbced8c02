"""Where a shard stands, in one consistent look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from streamproc.core.commits import entry_ms
from streamproc.core.ledger import LedgerTerms, WrittenOff
from streamproc.stores.redis import scripts
from streamproc.stores.redis.shard import Shard


@dataclass(frozen=True, slots=True)
class Survey:
    """One look at a shard. Times are milliseconds by Redis' clock."""

    now_ms: int
    watermark_ms: int
    pending: int
    oldest_pending_ms: int | None
    first_undelivered_ms: int | None
    #: Counted entry by entry; None beyond the bound that was asked for.
    undelivered: int | None
    length: int
    open: int
    #: Windows in `open` that the low watermark has passed, and the low watermark at which the first of them was due.
    due: int
    first_due_ms: int | None
    taken: int
    closed: int
    dead: int
    consumers: int
    epoch: int
    mark_ms: int | None
    ledger: LedgerTerms
    #: Earlier epochs that somebody ended, oldest first.
    written_off: list[WrittenOff] = field(default_factory=list)

    @property
    def lag_ms(self) -> int:
        """The age of the first undelivered entry; 0 where there is none."""
        return 0 if self.first_undelivered_ms is None else max(0, self.now_ms - self.first_undelivered_ms)

    @property
    def overdue_ms(self) -> int:
        """How far the low watermark is beyond the first due window; 0 where there is none."""
        return 0 if self.first_due_ms is None else max(0, self.watermark_ms - self.first_due_ms)

    @property
    def lag_entries(self) -> int:
        """Undelivered entries: counted, or beyond the bound what the ledger leaves over (`lost` ones among them)."""
        if self.undelivered is not None:
            return self.undelivered
        return max(0, self.ledger.unaccounted())


async def survey(shard: Shard, *, most_undelivered: int = 2000) -> Survey | None:
    """Look at a shard; None where stream or group is missing. Counts at most `most_undelivered` undelivered entries."""
    keys = shard.keys
    reply = await shard.run(
        scripts.SURVEY,
        [keys.stream, keys.open, keys.taken, keys.closed, keys.ledger, keys.dead],
        [shard.group, most_undelivered],
    )
    if not reply:
        return None
    now_ms, watermark_ms, pending, oldest, first, undelivered, added, length, *sizes, consumers, flat = reply
    open_, due, first_due, taken, closed, dead = sizes
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    counted = None if undelivered < 0 else undelivered
    mark = fields.get(b"mark")
    return Survey(
        now_ms=now_ms,
        watermark_ms=watermark_ms,
        pending=pending,
        oldest_pending_ms=entry_ms(oldest.decode()) if oldest else None,
        first_undelivered_ms=entry_ms(first.decode()) if first else None,
        undelivered=counted,
        length=length,
        open=open_,
        due=due,
        first_due_ms=int(float(first_due)) if first_due else None,
        taken=taken,
        closed=closed,
        dead=dead,
        consumers=consumers,
        epoch=int(fields.get(b"epoch", 0)),
        mark_ms=None if mark is None else int(mark),
        ledger=LedgerTerms.from_hash(fields, entries_added=added, pending=pending, undelivered=counted),
        written_off=_written_off(fields),
    )


def _written_off(fields: Mapping[bytes, bytes]) -> list[WrittenOff]:
    ended = {int(name.partition(b":")[2]): value for name, value in fields.items() if name.startswith(b"epoch:")}
    found = (WrittenOff.from_ended(epoch, orjson.loads(value)) for epoch, value in sorted(ended.items()))
    return [one for one in found if one]


async def write_off(shard: Shard, epoch: int, note: str, *, most_undelivered: int) -> bool | None:
    """End an epoch of the ledger in which entries disappeared, and begin one that balances.

    Returns:
        False where another epoch has begun meanwhile, None where too many undelivered entries wait to be counted.

    Raises:
        redis.exceptions.RedisError: it may or may not have taken effect; look, and repeat it.
    """
    arguments = [shard.group, epoch, most_undelivered, note]
    done = await shard.run(scripts.WRITE_OFF, [shard.keys.stream, shard.keys.ledger], arguments)
    return None if done < 0 else bool(done)
