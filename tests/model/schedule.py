"""A schedule: some hundred random steps of all roles, with faults between any two of them, then quiet, then a verdict.

The seed decides everything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from .producers import Producers
from .settings import WINDOWING
from .settling import settle
from .shard import Shard
from .steps import PAUSE, Process
from .world import World, shown

_STEPS: Final = 220
_ENTRIES: Final = 40
_MOST_SET_BACK_MS: Final = 2_000
_RETENTION_MS: Final = (3_000, 60_000)
_FATES: Final = {"calls": ("never arrives", "reply lost"), "late calls": ("arrives later",)}
#: How long somebody is frozen: past claim time and visibility, past the horizon, until all is forgotten.
_FROZEN_MS: Final = (3_000, 15_000, 60_000, 10**9)
#: What may go wrong, and how likely a schedule has it. With everything at once, much would hide much else.
FAULTS: Final = {
    "calls": 0.5,  # never arrive, or lose their reply
    "late calls": 0.4,  # arrive when their caller has given them up
    "kill": 0.5,
    "freeze": 0.5,
    "outage": 0.5,  # of all consumers, beyond the horizon
    "leap": 0.5,  # of time
    "mongodb": 0.5,  # away
    "failover": 0.3,  # to an earlier consistent state
    "emptied": 0.1,
    "group": 0.15,  # destroyed
    "set back": 0.2,  # Redis' clock
    "sick": 0.15,  # a consumer whose commits do not get through
    "deadly": 0.15,  # an event that ends whoever plans it
    "stranger": 0.1,  # deletes an entry that is pending
    "erasure": 0.4,
}

Action = Callable[[], None]


@dataclass(slots=True)
class Verdict:
    """How a schedule ended. `differences` empty: exact."""

    seed: int
    steps: int
    differences: list[str]
    trace: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        return not self.differences


def play(seed: int, *, faults: Collection[str] | None = None, traced: bool = False) -> Verdict:
    """The schedule of this seed, from an empty shard to the verdict. `faults`: these, instead of some at random."""
    schedule = _Schedule(Random(seed), faults, traced=traced)
    world = schedule.world
    try:
        schedule.disturb()
        schedule.calm_down()
        settle(world)
    except Exception as error:
        world.differences.append(f"{type(error).__name__}: {error}")
    return Verdict(seed, world.steps, list(dict.fromkeys(world.differences)), world.trace or [])


class _Schedule:
    def __init__(self, rng: Random, faults: Collection[str] | None, *, traced: bool) -> None:
        drawn = [fault for fault, likely in FAULTS.items() if rng.random() < likely]
        self._faults = drawn if faults is None else [fault for fault in FAULTS if fault in faults]
        self._fates = [fate for fault in self._faults for fate in _FATES.get(fault, ())]
        self._rng = rng
        self.world = World(rng, rng.choice(_RETENTION_MS), traced=traced)
        self._replica: tuple[dict[str, Any], int] = Shard(self.world.clock).snapshot(), 0
        self._to_publish = rng.randrange(5, _ENTRIES)
        self._producers = Producers(
            rng,
            sessions=rng.randrange(1, 4),
            deadly="deadly" in self._faults,
        )
        self._start()
        self.world.note("faults:", ", ".join(self._faults) or "none")

    def _start(self) -> None:
        """Up to three consumers and two of the others."""
        rng = self._rng
        crew = {"consumer": rng.randrange(1, 4), "flusher": rng.randrange(1, 3), "janitor": 1}
        crew["eraser"] = rng.randrange(1, 3) if "erasure" in self._faults else 0
        for kind, number in crew.items():
            for _ in range(number):
                self.world.start(kind)
        if "sick" in self._faults:
            self.world.start("consumer").sick = True

    def disturb(self) -> None:
        """Everything that may happen, in any order."""
        actions, weights = zip(*self._weighed(), strict=True)
        advance, random = self.world.clock.advance, self._rng.random
        for action in self._rng.choices(actions, weights, k=_STEPS):
            action()
            advance(int(random() * 20))

    def calm_down(self) -> None:
        """Nothing more goes wrong. Some of those who sleep wake now, the others when all is over."""
        self.world.note("nothing more goes wrong")
        self.world.mongodb_away = False
        clock = self.world.clock
        clock.advance(clock.latest_ms - clock.now_ms)
        while self._to_publish:
            self._publish()
        self._rng.shuffle(self.world.processes)
        for process in self.world.processes:
            if self.world.is_frozen(process) and self._rng.random() < 0.5:
                process.frozen_until_ms = 0

    def _weighed(self) -> Iterator[tuple[Action, float]]:
        yield self._step, 80
        yield self._publish, 6
        yield self._pass_time, 5
        yield self._look, 2
        actions: dict[str, list[tuple[Action, float]]] = {
            "late calls": [(self.world.late_arrival, 4)],
            "kill": [(self._kill, 2)],
            "freeze": [(self._freeze, 2)],
            "outage": [(self._stop_consumers, 0.5)],
            "leap": [(self._leap, 0.7)],
            "mongodb": [(self._mongodb_goes, 0.7), (self._mongodb_returns, 2)],
            "failover": [(self._replicate, 2), (self._fail_over, 0.7)],
            "emptied": [(self._empty, 0.4)],
            "group": [(self._destroy_group, 0.5)],
            "set back": [(self._set_clock_back, 1)],
            "stranger": [(self._delete_pending, 1)],
            "erasure": [(self._ask_for_erasure, 0.7)],
        }
        for fault in self._faults:
            yield from actions.get(fault, ())

    # What may happen

    def _step(self) -> None:
        """Somebody makes one call. Where all sleep, it is later all at once."""
        world = self.world
        now_ms = world.clock.now_ms
        awake = [one for one in world.processes if one.frozen_until_ms <= now_ms and one.sleeps_until_ms <= now_ms]
        if not awake:
            world.clock.advance(min(max(one.sleeps_until_ms, one.frozen_until_ms) for one in world.processes) - now_ms)
            return
        process = self._rng.choice(awake)
        fails = self._fates and not process.pauses and self._rng.random() < 0.1
        world.let(process, self._rng.choice(self._fates) if fails else "")

    def _publish(self) -> None:
        for _ in range(min(self._to_publish, self._rng.randrange(1, 5))):
            self._to_publish -= 1
            added_ms = self.world.shard.next_id_ms()
            judged_ms = self.world.clock.latest_ms - _MOST_SET_BACK_MS if "set back" in self._faults else added_ms
            self.world.publish(self._producers.draw(added_ms, min(added_ms, judged_ms)))

    def _pass_time(self) -> None:
        self.world.clock.advance(int(self._rng.expovariate(1 / 1500)))

    def _look(self) -> None:
        self.world.differences += self.world.truth.balances()

    def _kill(self) -> None:
        process = self._somebody()
        self.world.note("killed", process.name, "before", shown(process.step))
        self.world.end(process)

    def _freeze(self) -> None:
        process = self._somebody()
        ms = self._rng.choice(_FROZEN_MS)
        self.world.note("frozen", process.name, "before", shown(process.step), f"for {ms} ms")
        process.frozen_until_ms = self.world.clock.now_ms + ms
        self.world.start(process.kind)

    def _stop_consumers(self) -> None:
        self.world.note("all consumers stop")
        until_ms = self.world.clock.now_ms + 2 * WINDOWING.horizon_ms
        for process in self.world.processes:
            if process.kind == "consumer":
                process.frozen_until_ms = max(process.frozen_until_ms, until_ms)

    def _leap(self) -> None:
        self.world.note("time leaps")
        self.world.clock.advance(self._rng.randrange(5_000, 20_000))

    def _set_clock_back(self) -> None:
        clock = self.world.clock
        ms = self._rng.randrange(_MOST_SET_BACK_MS + 1 - (clock.latest_ms - clock.now_ms))
        self.world.note("clock is set back", ms, "ms")
        clock.advance(-ms)
        self.world.truth.calm = False

    def _mongodb_goes(self) -> None:
        self.world.note("mongodb goes away")
        self.world.mongodb_away = True

    def _mongodb_returns(self) -> None:
        self.world.mongodb_away = False

    def _replicate(self) -> None:
        self.world.note("replica has come this far")
        self._replica = self.world.shard.snapshot(), len(self.world.truth.entries)

    def _fail_over(self) -> None:
        self.world.note("failover to that replica")
        self.world.clock.advance(self._rng.randrange(500, 3_000))
        self.world.fail_over(*self._replica)

    def _empty(self) -> None:
        """And so are its replicas."""
        self.world.note("redis comes back empty")
        self._replica = Shard(self.world.clock).snapshot(), 0
        self.world.fail_over(*self._replica)

    def _destroy_group(self) -> None:
        self.world.note("group is destroyed")
        self.world.shard.destroy_group()
        self.world.truth.one_epoch = False

    def _delete_pending(self) -> None:
        if self.world.shard.pending:
            entry_id = self._rng.choice(list(self.world.shard.pending))
            self.world.note("a stranger deletes", entry_id)
            self.world.shard.entries.pop(entry_id, None)
            self.world.truth.deleted(entry_id)

    def _ask_for_erasure(self) -> None:
        user = self._producers.draw_user()
        self.world.note(user, "asks to be erased")
        self.world.asked_for.append(user)

    def _somebody(self) -> Process:
        """One that is awake, and in the middle of something if anybody is."""
        awake = [one for one in self.world.processes if not self.world.is_frozen(one) and not one.sick]
        return self._rng.choice([one for one in awake if one.step[0] is not PAUSE] or awake)
