"""An eraser of all shards and of what is stored of them, as the settings name them: for workers, commands and HTTP."""

from __future__ import annotations

from streamproc.app.connections import Connections
from streamproc.metrics import Metrics
from streamproc.roles.eraser import Eraser
from streamproc.stores.mongo.erasures import ErasureStore, MeasurementErasure
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.redis.erasure import ShardErasure


def make_eraser(connections: Connections, metrics: Metrics) -> Eraser | None:
    """None without an erasure key: then nobody can be erased."""
    settings = connections.settings
    key = connections.shards[0].erasure_key
    if key is None:
        return None
    return Eraser(
        [ShardErasure(shard, settings.windowing) for shard in connections.shards],
        [MeasurementErasure(MeasurementStore(connections.database))],
        ErasureStore(connections.database),
        key,
        settings.windowing,
        metrics,
        settings.erase_policy,
    )


async def require_erasure_key(connections: Connections) -> None:
    """Check that those who count recognise whom this process erases.

    Raises:
        LayoutMismatch: they do not; the message says what to do.
        redis.exceptions.RedisError: ask again.
    """
    await connections.check_layout()
    for shard in connections.shards:
        await shard.require_erasure_key()
