"""Everything that one schedule works on: a server, a clock, a collection, the roles, and the truth about all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, Final, cast

from streamproc.core.erasure_key import ErasureKey
from streamproc.core.erasures import Erasure
from streamproc.core.live import LiveWindows
from streamproc.core.windows import Windowing
from streamproc.demo.oracle import Kind
from streamproc.metrics import Metrics
from streamproc.roles.consumer import ConsumePolicy, Consumer
from streamproc.roles.eraser import ErasePolicy, Eraser
from streamproc.roles.flusher import Flusher, FlushPolicy
from streamproc.roles.janitor import Janitor, KeepPolicy
from streamproc.roles.observer import Observer
from streamproc.stores.mongo.erasures import MeasurementErasure
from streamproc.stores.mongo.measurements import key_of
from streamproc.stores.redis.commits import CommitStore
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.erasure import ShardErasure
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import Survey, survey
from streamproc.stores.redis.windows import WindowStore

from .clock import Clock
from .erasures import SimulatedErasures
from .faults import run
from .measurements import SimulatedMeasurements
from .oracle import Truth, digest
from .producers import as_entry
from .redis_under_faults import Rewrite, Server, SimulatedRedis
from .traces import Trace, traces

_NONE: Final = range(1)
KEYS: Final = "dubbing:*"
WINDOWING: Final = Windowing(length_ms=10_000, grace_ms=1_000, horizon_ms=30_000, quiet_ms=1_000, future_ms=5_000)

_SECRET: Final = "of simulations"
_KEY: Final = ErasureKey(_SECRET)
_CONSUME: Final = ConsumePolicy(max_events=4, block_ms=0, claim_idle_ms=0, poison_deliveries=1_000_000)
_FLUSH: Final = FlushPolicy(max_windows=3, visibility_ms=2_000)
_KEEP: Final = KeepPolicy(stream_retention_ms=3_000, consumer_idle_ms=0, sweep_ms=20_000, max_windows=2)
_ERASE: Final = ErasePolicy(flush_visibility_ms=_FLUSH.visibility_ms)


@dataclass(frozen=True, slots=True)
class Policies:
    """Small numbers, so that a short schedule has many batches, and every limit is met.

    Idle times are 0: when somebody is idle is the scheduler's to say. Poison is out of the game: here a process is
    killed far more often than five times without any entry being at fault.
    """

    consume: ConsumePolicy = _CONSUME
    flush: FlushPolicy = _FLUSH
    keep: KeepPolicy = _KEEP
    erase: ErasePolicy = _ERASE


class Replica:
    """What a replica holds that had come this far, and how much had been published by then."""

    def __init__(self, dumped: Mapping[bytes, bytes], published: int) -> None:
        self.dumped = dumped
        self.published = published


class World:
    """One shard and its surroundings, new and empty.

    Args:
        rewrites: scripts, by name, that are to run otherwise than they are written.
        shards: how many there are; this is the first, and of the others there is nothing but streams.
    """

    def __init__(
        self,
        server: Server,
        rng: Random,
        *,
        policies: Policies | None = None,
        rewrites: Mapping[str, Rewrite] | None = None,
        shards: int = 1,
    ) -> None:
        self._shards = shards
        self.clock = Clock()
        self.server = server
        server.begin(self.clock, rewrites)
        self.policies = policies or Policies()
        client: Any = SimulatedRedis(server)
        self._client = client
        self.shard = Shard(client, erasure_key=_SECRET)
        self.keys = self.shard.keys
        self.windows = WindowStore(self.shard, WINDOWING)
        self.measurements = SimulatedMeasurements(rng)
        self.measurements.on_insert = self._look_whether_it_is_complete
        self.measurements.is_erased = lambda key: self.is_erased(key.user_id, key.start_ms)
        self.erasures = SimulatedErasures(self.measurements)
        #: Users of whom somebody has just asked that they be erased.
        self.asked_for: list[str] = []
        self.truth = Truth(
            length_ms=WINDOWING.length_ms, horizon_ms=WINDOWING.horizon_ms, future_ms=WINDOWING.future_ms
        )
        self.truth.is_erased = self.is_erased
        #: Measurements of hours that were not complete when they were stored.
        self.incomplete: list[str] = []
        self.time_ran_back = False
        self.epochs = 1
        self.failovers = 0

    # The outside world

    def publish(self, *events: dict[str, Any]) -> None:
        ids = self.server.add_all(self.keys.stream, map(as_entry, events))
        for event, (added_ms, entry_id) in zip(events, ids, strict=True):
            self.truth.published(entry_id, added_ms, event)

    def replica(self) -> Replica:
        return Replica(self.server.dump(KEYS), len(self.truth.entries))

    def fail_over(self, replica: Replica) -> None:
        """The primary is gone, and with it whatever the replica had not heard of."""
        self.server.restore(KEYS, replica.dumped)
        for entry in self.truth.entries[replica.published :]:
            entry.lost_in_failover = True
        self.failovers += 1

    def set_clock_back(self, ms: int) -> None:
        self.clock.set_back(ms)
        self.time_ran_back = True

    def destroy_group(self) -> None:
        self.server.call("XGROUP", "DESTROY", self.keys.stream, self.shard.group)
        self.epochs += 1

    # Roles, each as a pod has it

    def stream(self, name: str) -> EntryStream:
        return EntryStream(self.shard, self._client, name)

    def consumer(self, name: str) -> Consumer:
        commits = CommitStore(self.shard, WINDOWING)
        live, policy = LiveWindows((1,)), self.policies.consume
        return Consumer(self.stream(name), commits, WINDOWING, live, _metrics(), policy, shards=self._shards)

    def flusher(self) -> Flusher:
        measurements: Any = self.measurements
        return Flusher(self.windows, measurements, WINDOWING, _metrics(), self.policies.flush)

    def janitor(self) -> Janitor:
        measurements: Any = self.measurements
        return Janitor(self.stream("janitor"), self.windows, measurements, WINDOWING, _metrics(), self.policies.keep)

    def eraser(self) -> Eraser:
        measurements, erasures = (cast("Any", one) for one in (self.measurements, self.erasures))
        shards, others = [ShardErasure(self.shard, WINDOWING)], [MeasurementErasure(measurements)]
        return Eraser(shards, others, erasures, _KEY, WINDOWING, _metrics(), self.policies.erase)

    def observer(self) -> Observer:
        return Observer(self.shard, _metrics())

    # Looking

    def seen(self) -> Survey | None:
        return run(survey(self.shard))

    def differences(self) -> list[str]:
        """What is wrong, now that all is quiet."""
        stored = self.measurements
        found = self.truth.differences(stored.documents) + stored.receded + self.incomplete
        return found + self._unsettled() + self.traces()

    def is_erased(self, user_id: str, start_ms: int) -> bool:
        """Whether this window of a user is covered by an erasure that was written down."""
        return any(start_ms <= one.covered_start_ms for one in self._erasures_of(user_id))

    def traces(self) -> list[str]:
        """What is to be found of those who were erased, wherever that is: nothing, once all is said to be done."""
        if not self.erasures.erasures:
            return []
        stored = [document["metadata"] for document in self.measurements.documents]
        found = [f"{one} is stored" for one in stored if self.measurements.is_erased(key_of(one))]
        return found + [
            f"{one.where} tells of {one.user_id}, who was erased"
            for one in traces(self.server, KEYS)
            if any(_covers(erasure, one) for erasure in self._erasures_of(one.user_id))
        ]

    def _erasures_of(self, user_id: str) -> list[Erasure]:
        of_user = self.shard.user_hash(user_id)
        return [one for one in self.erasures.erasures.values() if one.user_hash == of_user]

    def unlike_redis(self) -> list[str]:
        """Windows of which Redis holds as many segments as are stored, or more, but others than these."""
        found = []
        for document in self.measurements.newest():
            window = key_of(document["metadata"])
            held = self.server.call("HKEYS", self.keys.window(WINDOWING.name(window)).segments)
            segments = sorted(segment.decode() for segment in held)
            if len(segments) >= document["metadata"]["revision"] and digest(segments) != document["segments_digest"]:
                found.append(f"{window} holds {segments} in Redis, and not that is stored")
        return found

    def _look_whether_it_is_complete(self, document: dict[str, Any]) -> None:
        """A backlog holds windows open: what was added before a window was due is in what is stored, from the first."""
        if self.failovers or self.time_ran_back or self.measurements.is_erased(key_of(document["metadata"])):
            return
        on_time = self.truth.on_time(document, WINDOWING.grace_ms)
        if document["metadata"]["revision"] < len(on_time):
            self.incomplete.append(f"{document['metadata']} was stored without one of {sorted(on_time)}")

    def _unsettled(self) -> list[str]:
        seen = self.seen()
        if seen is None:
            return ["there is no group"]
        expected = dict.fromkeys(("pending", "undelivered", "open", "taken", "closed"), _NONE)
        found = {name: getattr(seen, name) for name in expected}
        expected |= {"imbalance": _NONE, "lost": _NONE}
        found |= {"imbalance": seen.ledger.imbalance(), "lost": seen.ledger.lost}
        if self.failovers == 0 and self.epochs == 1:
            expected |= {"counted": self.truth.segments(), "dead_lettered": self._refused()}
            found |= {"counted": seen.ledger.counted, "dead_lettered": seen.ledger.dead_lettered}
        return [
            f"{name} should be {_shown(expected[name])}, is {found[name]}"
            for name in expected
            if found[name] not in expected[name]
        ]

    def _refused(self) -> range:
        return self.truth.of_kinds(Kind.MALFORMED, Kind.TOO_LATE, Kind.FUTURE)


def _covers(erasure: Erasure, trace: Trace) -> bool:
    """By its window; or, in a stream, as it had been added when the request was made."""
    added_before = trace.added_ms is not None and trace.added_ms <= erasure.requested_at_ms
    return added_before or WINDOWING.start_of(trace.event_ms) <= erasure.covered_start_ms


def _shown(expected: range) -> str:
    least, most = expected[0], expected[-1]
    return str(least) if least == most else f"{least} to {most}"


@cache
def _metrics() -> Metrics:
    """Nobody reads them here, and making them takes longer than a short schedule."""
    return Metrics()
