"""Which hours of a shard MongoDB may not hold in full yet."""

from __future__ import annotations

from typing import NamedTuple

from streamproc.core.windows import Windowing
from streamproc.stores.redis import scripts
from streamproc.stores.redis.shard import Shard


class Unsettled(NamedTuple):
    """One look at a shard: everything added before the watermark is committed, and these hours are to be flushed."""

    watermark_ms: int
    starts_ms: frozenset[int]


async def unsettled(shard: Shard, windowing: Windowing) -> Unsettled | None:
    """None where stream or group is missing: then nothing is known.

    A name that a stranger wrote into `open` or `taken` names no hour, and counts for none.

    Raises:
        redis.exceptions.RedisError: nothing was seen.
    """
    keys = shard.keys
    reply = await shard.run(scripts.UNSETTLED, [keys.stream, keys.open, keys.taken], [shard.group])
    if not reply:
        return None
    watermark_ms, *names = reply
    starts = set()
    for name in names:
        try:
            starts.add(windowing.parse_name(name.decode()).start_ms)
        except ValueError:  # the flusher reports it
            continue
    return Unsettled(watermark_ms, frozenset(starts))
