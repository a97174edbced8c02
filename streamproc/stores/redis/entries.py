"""Reading a shard's stream: new entries, this consumer's own pending ones, and those that others left behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from streamproc.core.commits import Entry, Misplaced
from streamproc.stores.redis import scripts
from streamproc.stores.redis.connect import AnyRedis
from streamproc.stores.redis.shard import Shard

_START = b"0-0"


class Batch(NamedTuple):
    """Entries as read, and Redis' time right after."""

    entries: list[Entry]
    now_ms: int
    #: How often each entry was delivered, where that is known (claimed ones).
    deliveries: Sequence[int] = ()
    #: Entries found deleted by a stranger and counted as lost while claiming.
    lost: int = 0


class EntryStream:
    """The stream of one shard, as seen by one consumer.

    Args:
        reader: a client of its own, as a blocking read holds its connection.
    """

    def __init__(self, shard: Shard, reader: AnyRedis, consumer: str) -> None:
        self._shard = shard
        self._reader = shard.led_by(reader)
        self.consumer = consumer
        self._claim_cursor = _START
        self._own_cursor = _START

    @property
    def claim_round_over(self) -> bool:
        """Whether `claim` has looked through the whole pending list and would start again."""
        return self._claim_cursor == _START

    async def ensure_group(self) -> str:
        """Create stream and group where missing. Returns why a new ledger epoch began, or ''."""
        shard = self._shard
        reason = await shard.run(scripts.ENSURE_GROUP, [shard.keys.stream, shard.keys.ledger], [shard.group])
        return str(reason.decode())

    async def read_new(self, count: int, block_ms: int) -> Batch:
        """Up to `count` entries never delivered before; waits up to `block_ms` for the first (0: not at all)."""
        block = ("BLOCK", block_ms) if block_ms > 0 else ()
        return await self._read(count, b">", *block)

    async def read_own(self, count: int) -> Batch:
        """The next of this consumer's own pending entries; an empty batch when all were seen, and from the start again.

        https://redis.io/docs/latest/commands/xreadgroup/ ("the history of pending messages")
        """
        batch = await self._read(count, self._own_cursor)
        self._own_cursor = batch.entries[-1][0] if batch.entries else _START
        return batch

    async def claim(self, idle_ms: int, count: int) -> Batch:
        """Take over entries pending for at least `idle_ms`. The cursor is carried on from call to call."""
        shard = self._shard
        cursor, now_ms, entries, deliveries, lost = await shard.run(
            scripts.CLAIM,
            [shard.keys.stream, shard.keys.ledger],
            [shard.group, self.consumer, idle_ms, self._claim_cursor, count],
        )
        self._claim_cursor = cursor
        return Batch([(entry_id, fields) for entry_id, fields in entries], now_ms, deliveries, lost)

    async def suspect(self, entry_id: bytes) -> int:
        """Mark an entry before it is processed alone. Returns how many others had begun that, and did not finish.

        A mark of this consumer's own proves nothing but trouble with Redis after it was written: we are alive.
        """
        shard, keys = self._shard, self._shard.keys
        others = await shard.run(scripts.SUSPECT, [keys.stream, keys.suspects], [shard.group, entry_id, self.consumer])
        return int(others)

    async def forward(self, misplaced: Sequence[Misplaced]) -> None:
        """Add entries to the shard where they belong. Twice is harmless: a segment counts once."""
        for entry in misplaced:
            there = self._shard.sibling(entry.shard)
            await there.client.execute_command("XADD", there.keys.stream, "*", *entry.fields)

    async def retire(self, idle_ms: int, *, only_self: bool = False) -> list[str]:
        """Remove consumers idle for `idle_ms` with nothing pending. Returns their names."""
        shard = self._shard
        only = self.consumer if only_self else ""
        removed = await shard.run(scripts.RETIRE, [shard.keys.stream], [shard.group, idle_ms, only])
        return [name.decode() for name in removed]

    async def trim(self, retention_ms: int, dead_letter_retention_ms: int) -> tuple[int, int]:
        """Trim old entries and dead letters. Returns how many of each went."""
        shard = self._shard
        entries, dead = await shard.run(
            scripts.TRIM,
            [shard.keys.stream, shard.keys.dead],
            [shard.group, retention_ms, dead_letter_retention_ms],
        )
        return entries, dead

    async def _read(self, count: int, start: bytes, *options: Any) -> Batch:
        """XREADGROUP and TIME in one round trip, so that lateness is judged by Redis' clock, not by ours."""
        stream = self._shard.keys.stream
        pipeline = self._reader.pipeline(transaction=False)
        pipeline.execute_command(
            "XREADGROUP", "GROUP", self._shard.group, self.consumer, "COUNT", count, *options, "STREAMS", stream, start
        )
        pipeline.execute_command("TIME")
        reply, (seconds, microseconds) = await pipeline.execute()
        entries: list[Entry] = reply[0][1] if reply else []  # as it came: copying would cost as much as reading
        return Batch(entries, seconds * 1000 + microseconds // 1000)
