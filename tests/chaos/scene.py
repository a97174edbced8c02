"""How a stage is set up: settings of the workers, load, servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: Short windows, so that a round sees many of them end. Their details outlast the round.
SETTINGS: Final = {
    "WINDOW_SECONDS": "5",
    "GRACE_SECONDS": "1",
    "LATE_QUIET_SECONDS": "1",
    "LATE_HORIZON_SECONDS": "3600",
    "FUTURE_TOLERANCE_SECONDS": "2",
    "CLAIM_IDLE_SECONDS": "2",
    "FLUSH_VISIBILITY_SECONDS": "2",
    "COMMIT_INTERVAL_SECONDS": "0.1",
    "SWEEP_SECONDS": "2",
    "MONGODB_DATABASE": "chaos",
}
#: Where publishers are never held up, details are forgotten and entries trimmed while the fault goes on. (Late segments
#: are at most half a horizon late: publishers may fall behind by the other half before one becomes too late.)
FORGETFUL: Final = {"LATE_HORIZON_SECONDS": "14", "STREAM_RETENTION_SECONDS": "10"}
#: Batches so small that two workers count some 150 entries a second over a slow network.
SMALL_BATCHES: Final = {"COMMIT_MAX_EVENTS": "10"}


@dataclass(frozen=True, slots=True)
class Scene:
    """How a stage is set up."""

    settings: Mapping[str, str]
    rate: float = 150.0
    workers: int = 2
    #: MongoDB is a replica set of one, which workers find by its own address, without a proxy.
    replica_set: bool = False
