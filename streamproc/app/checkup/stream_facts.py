"""Where a shard stands, as far as `survey` does not say. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from streamproc.stores.redis.keys import ShardKeys
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import Survey, survey

#: Workers ask for entries at least every second, and tell how they are as often. Who has not for so long is gone.
LATELY_MS: Final = 30_000
#: Of entries that nobody takes over no more than these are counted.
MOST_UNCLAIMED: Final = 100


class WrongType(NamedTuple):
    """A key that holds what another program must have put there."""

    key: str
    found: str
    expected: str


class ConsumerState(NamedTuple):
    """A consumer of the group, and for how long it has not asked for entries."""

    name: str
    pending: int
    idle_ms: int


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """One shard.

    Attributes:
        wrong_types: where there are any, the rest was not looked at.
        layout: what its pods agreed on; empty where none has run yet.
        has_stream: whether the stream exists.
        survey: None where stream or group is missing.
        consumers: of the group, with what each has pending.
        heard: pods that have told lately how they are, whichever shard they are at.
        unclaimed: entries that have been pending for longer than anybody should leave them.
        overdue: windows that were due, or in work, for longer than they should be.
        oldest_due_ms: when the first window in `open` is, or was, due; None where there is none.
    """

    wrong_types: Sequence[WrongType]
    layout: Mapping[str, str]
    has_stream: bool
    survey: Survey | None
    consumers: Sequence[ConsumerState]
    heard: Sequence[str]
    unclaimed: int
    overdue: int
    oldest_due_ms: int | None


async def look_at_shard(shard: Shard, first: Shard, *, unclaimed_ms: int, overdue_ms: int) -> ShardFacts:
    """`first`: the shard in which pods tell how they are. Raises redis.exceptions.RedisError."""
    client, keys = shard.client, shard.keys
    wrong = await _wrong_types(client, keys)
    seen = None if wrong else await survey(shard)
    layout = {} if wrong else await _layout(client, keys)
    has_stream = not wrong and bool(await client.execute_command("EXISTS", keys.stream))
    if seen is None:
        return ShardFacts(wrong, layout, has_stream, None, (), (), 0, 0, None)
    oldest = await client.zrange(keys.open, 0, 0, withscores=True)
    overdue = await client.execute_command("ZCOUNT", keys.open, "-inf", f"({seen.watermark_ms - overdue_ms}")
    overdue += await client.execute_command("ZCOUNT", keys.taken, "-inf", f"({seen.now_ms - overdue_ms}")
    return ShardFacts(
        wrong_types=(),
        layout=layout,
        has_stream=True,
        survey=seen,
        consumers=await _consumers(client, keys, shard.group),
        heard=await _heard(client, first.keys, seen.now_ms),
        unclaimed=await _unclaimed(client, keys, shard.group, unclaimed_ms),
        overdue=overdue,
        oldest_due_ms=int(float(oldest[0][1])) if oldest else None,
    )


async def _wrong_types(client: Any, keys: ShardKeys) -> list[WrongType]:
    expected = {
        keys.stream: "stream",
        keys.dead: "stream",
        keys.open: "zset",
        keys.taken: "zset",
        keys.closed: "zset",
        keys.erased: "zset",
        keys.ledger: "hash",
        keys.layout: "hash",
        keys.heard: "zset",
        keys.pods: "hash",
    }
    found = {key: (await client.execute_command("TYPE", key)).decode() for key in expected}
    return [WrongType(key, found[key], kind) for key, kind in expected.items() if found[key] not in ("none", kind)]


async def _layout(client: Any, keys: ShardKeys) -> dict[str, str]:
    flat = await client.execute_command("HGETALL", keys.layout)
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


async def _consumers(client: Any, keys: ShardKeys, group: str) -> list[ConsumerState]:
    told = await client.xinfo_consumers(keys.stream, group)
    return [ConsumerState(one["name"].decode(), one["pending"], one["idle"]) for one in told]


async def _heard(client: Any, keys: ShardKeys, now_ms: int) -> list[str]:
    """Before 7.2 Redis does not tell whether a consumer asks in vain; the pods do: see `stores.redis.presence`."""
    names = await client.execute_command("ZRANGEBYSCORE", keys.heard, now_ms - LATELY_MS, "+inf")
    return [name.decode() for name in names]


async def _unclaimed(client: Any, keys: ShardKeys, group: str, unclaimed_ms: int) -> int:
    return len(await client.xpending_range(keys.stream, group, "-", "+", MOST_UNCLAIMED, idle=unclaimed_ms))
