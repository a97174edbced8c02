"""The faults, by name. Each function causes its fault once, or a few times, heals it, and returns how often it took
place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

from .mongodb_faults import keep_mongodb_away, kill_mongod, step_down
from .network_faults import drop_replies, silence_redis, slow_and_cut, to_mongodb, to_redis
from .redis_faults import empty_redis, fill_memory, kill_redis, promote_replica
from .requests import MONGODB_REQUESTS, REDIS_REQUESTS
from .scene import FORGETFUL, SMALL_BATCHES, Scene
from .stage import Stage
from .worker_faults import flood, freeze_worker, kill_worker, scale, start_worker_with_wrong_clock


class Fault(NamedTuple):
    """A fault, and the scene that it is played on."""

    name: str
    cause: Callable[[Stage], Awaitable[int]]
    scene: Scene = Scene({})


_SHORT_MEMORY: Final = Scene(FORGETFUL)

FAULTS: Final = (
    Fault("worker killed", kill_worker, _SHORT_MEMORY),
    Fault("worker frozen", freeze_worker, _SHORT_MEMORY),
    Fault("workers come and go", scale, _SHORT_MEMORY),
    Fault("worker's clock an hour wrong", start_worker_with_wrong_clock, _SHORT_MEMORY),
    Fault("load five times as high", flood, Scene({**FORGETFUL, **SMALL_BATCHES})),
    Fault("redis killed", kill_redis),
    Fault("replica promoted without the tail", promote_replica),
    Fault("redis emptied", empty_redis),
    Fault("redis memory full", fill_memory),
    Fault("redis replies dropped", partial(drop_replies, of=to_redis, requests=REDIS_REQUESTS)),
    Fault("redis slow and cut off", partial(slow_and_cut, of=to_redis)),
    Fault("redis connections silent", silence_redis),
    Fault("mongod killed in mid-flush", kill_mongod, _SHORT_MEMORY),
    Fault("mongodb primary steps down", step_down, Scene(FORGETFUL, replica_set=True)),
    Fault("mongodb away for several windows", keep_mongodb_away, _SHORT_MEMORY),
    Fault("mongodb replies dropped", partial(drop_replies, of=to_mongodb, requests=MONGODB_REQUESTS), _SHORT_MEMORY),
    Fault("mongodb slow and cut off", partial(slow_and_cut, of=to_mongodb), _SHORT_MEMORY),
)


def named(name: str) -> Fault:
    """Raises KeyError, listing the names."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise KeyError(f"no fault {name!r}; there are: {', '.join(fault.name for fault in FAULTS)}")
