"""What would become of a dead letter, were it replayed now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from streamproc.cli.dead_letters.access import Stores
from streamproc.core import events, replay
from streamproc.core.commits import shard_of
from streamproc.core.events import InvalidEvent
from streamproc.core.replay import Obstacle, Refusal, Standing
from streamproc.core.windows import Windowing


class Ready(NamedTuple):
    """It would count: what is to be added to the stream of which shard."""

    shard: int
    payload: bytes


class Judge:
    """Judges payloads by where the shards of their events stand."""

    def __init__(self, stores: Stores, windowing: Windowing, changes: Mapping[str, str] | None = None) -> None:
        self._stores = stores
        self._windowing = windowing
        self._changes = changes or {}
        self._standings: dict[int, Standing] = {}

    def look_again(self) -> None:
        """Time has passed: forget where the shards stood."""
        self._standings.clear()

    async def judge(self, payload: bytes) -> Ready | Refusal:
        """Raises redis.exceptions.RedisError."""
        try:
            event = replay.mend(payload, self._changes)
        except InvalidEvent as error:
            return Refusal(Obstacle.MALFORMED, str(error))
        shard = shard_of(event.session_id, len(self._stores))
        if shard not in self._standings:
            self._standings[shard] = await self._stores[shard].standing()
        refused = replay.refusal(event, self._standings[shard], self._windowing)
        return refused or Ready(shard, events.encode(event))
