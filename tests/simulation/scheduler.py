"""A schedule: some hundred random steps of a world, then quiet, then the verdict. The seed decides everything."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final
from unittest import mock

from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from .crew import Crew
from .faults import Call, Fate, Process
from .processes import LIVES
from .producers import Producers
from .redis_under_faults import Rewrite, Server
from .world import WINDOWING, Replica, World

_STEPS: Final = 220
_ENTRIES: Final = 40
_FAILURES: Final = (Fate.NEVER_ARRIVES, Fate.REPLY_LOST, Fate.ARRIVES_LATER)
#: What may go wrong. A schedule has about half of it: with everything at once, much would hide much else.
FAULTS: Final = (
    "calls",
    "kill",
    "freeze",
    "outage",
    "leap",
    "mongodb",
    "failover",
    "group",
    "emptied",
    "set back",
    "erasure",
)
_RARE: Final = {"group": 0.15, "emptied": 0.1, "failover": 0.3, "set back": 0.2, "erasure": 0.4}
_MOST_SET_BACK_MS: Final = 2_000


@dataclass(slots=True)
class Verdict:
    """How a schedule ended. `differences` empty: exact."""

    seed: int
    differences: list[str]
    trace: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        return not self.differences


def play(server: Server, seed: int, *, rewrites: Mapping[str, Rewrite] | None = None) -> Verdict:
    """Run the schedule of this seed, from an empty server to the verdict."""
    rng = Random(seed)
    with (
        mock.patch.object(secrets, "randbits", rng.getrandbits),
        mock.patch.object(secrets, "token_bytes", rng.randbytes),
    ):
        schedule = _Schedule(World(server, rng, rewrites=rewrites), rng)
        try:
            schedule.disturb()
            schedule.settle()
            differences = schedule.differences + schedule.world.differences()
        except Exception as error:
            differences = [f"{type(error).__name__}: {error}"]
        finally:
            schedule.end()
    return Verdict(seed, differences, schedule.trace)


class _Schedule:
    def __init__(self, world: World, rng: Random) -> None:
        self.world = world
        self.trace: list[str] = []
        self.differences: list[str] = []
        self._rng = rng
        self._faults = {fault for fault in FAULTS if rng.random() < _RARE.get(fault, 0.5)}
        margin_ms = _MOST_SET_BACK_MS if "set back" in self._faults else 0
        self._producers = Producers(rng, WINDOWING, sessions=rng.randrange(1, 4), margin_ms=margin_ms)
        self._to_publish = rng.randrange(5, _ENTRIES)
        self._started = 0
        self._in_the_network: list[Call] = []
        self._replica: Replica | None = None
        self._processes: list[Process] = []
        crew = {"consumer": rng.randrange(1, 4), "flusher": rng.randrange(1, 3), "janitor": 1, "observer": 1}
        if "erasure" in self._faults:
            crew["eraser"] = rng.randrange(1, 3)
        for kind, count in crew.items():
            for _ in range(count):
                self._start(kind)
        self._actions = list(self._weighed())
        self._note("faults", ", ".join(sorted(self._faults)) or "none")

    # A schedule in three parts

    def disturb(self) -> None:
        """Everything that may happen, in any order."""
        actions, weights = zip(*self._actions, strict=True)
        for action in self._rng.choices(actions, weights, k=_STEPS):
            action()
            self.world.clock.advance(self._rng.randrange(20))

    def settle(self) -> None:
        """Nothing more goes wrong, and time passes, until every window is stored and forgotten.

        Some that were frozen wake at the beginning, the others when all is over: neither may do any harm.
        """
        self._note("settling")
        self.world.measurements.away = False
        while self._to_publish:
            self._publish()
        self._rng.shuffle(self._processes)
        sleepers = [process for process in self._processes if self._is_frozen(process) and self._rng.random() < 0.5]
        self._let_finish(process for process in self._processes if process not in sleepers)
        crew = Crew(self.world)
        self._store_and_erase(crew)
        self.differences += self.world.unlike_redis()
        crew.forget()
        self._let_finish(sleepers)
        while self._in_the_network:
            self._late_arrival()
        self._store_and_erase(crew)
        crew.forget()
        crew.sweep()

    def end(self) -> None:
        for process in self._processes:
            process.kill()

    # What may happen

    def _weighed(self) -> Iterator[tuple[Callable[[], None], float]]:
        yield self._step, 80
        yield self._publish, 6
        yield self._pass_time, 5
        optional: dict[str, list[tuple[Callable[[], None], float]]] = {
            "kill": [(self._kill, 2)],
            "freeze": [(self._freeze, 2)],
            "outage": [(self._stop_consumers, 0.5)],
            "leap": [(self._leap, 0.7)],
            "mongodb": [(self._mongodb_goes, 0.7), (self._mongodb_returns, 2)],
            "failover": [(self._replicate, 2), (self._fail_over, 0.7)],
            "emptied": [(self._empty, 0.4)],
            "group": [(self._destroy_group, 0.5)],
            "set back": [(self._set_clock_back, 1)],
            "calls": [(self._late_arrival, 4)],
            "erasure": [(self._ask_for_erasure, 0.7)],
        }
        for fault, actions in optional.items():
            if fault in self._faults:
                yield from actions

    def _step(self) -> None:
        """One process makes one store call. Where all of them sleep, it is later all at once."""
        clock = self.world.clock
        runnable = [process for process in self._processes if process.runs_at_ms() <= clock.now_ms]
        if not runnable:
            clock.advance_to(min(process.runs_at_ms() for process in self._processes))
            return
        process = self._rng.choice(runnable)
        fails = "calls" in self._faults and not process.pauses and self._rng.random() < 0.1
        self._let(process, self._rng.choice(_FAILURES) if fails else Fate.ARRIVES)

    def _publish(self) -> None:
        count = min(self._to_publish, self._rng.randrange(1, 5))
        self._to_publish -= count
        events = [self._producers.draw(self.world.clock.latest_ms) for _ in range(count)]
        if events:
            self.world.publish(*events)
        for entry in self.world.truth.entries[-count:] if count else ():
            event = entry.event
            self._note("published", entry.entry_id, entry.kind, event["session_id"], event["segment_id"])

    def _pass_time(self) -> None:
        self.world.clock.advance(int(self._rng.expovariate(1 / 1500)))

    def _leap(self) -> None:
        ms = self._rng.randrange(5_000, 20_000)
        self._note("clock leaps", f"{ms} ms")
        self.world.clock.advance(ms)

    def _set_clock_back(self) -> None:
        clock = self.world.clock
        ms = self._rng.randrange(_MOST_SET_BACK_MS + 1 - (clock.latest_ms - clock.now_ms))
        self._note("clock is set back", f"{ms} ms")
        self.world.set_clock_back(ms)

    def _kill(self) -> None:
        process = self._somebody()
        self._note("killed", process.name, "before", _shown(process))
        process.kill()
        self._processes.remove(process)
        self._start(process.kind)

    def _freeze(self) -> None:
        """For a while, or past the horizon and until after everything has been forgotten. Another takes its place."""
        process = self._somebody()
        ms = self._rng.choice((3_000, 15_000, 60_000, 10**9))
        self._note("frozen", process.name, "before", _shown(process), f"for {ms} ms")
        process.frozen_until_ms = self.world.clock.now_ms + ms
        self._start(process.kind)

    def _stop_consumers(self) -> None:
        """All of them, for longer than the horizon."""
        self._note("all consumers stop")
        until_ms = self.world.clock.now_ms + 2 * WINDOWING.horizon_ms
        for process in self._processes:
            if process.kind == "consumer" and not self._is_frozen(process):
                process.frozen_until_ms = until_ms

    def _mongodb_goes(self) -> None:
        self._note("mongodb goes away")
        self.world.measurements.away = True

    def _mongodb_returns(self) -> None:
        self._note("mongodb is back")
        self.world.measurements.away = False

    def _replicate(self) -> None:
        self._replica = self.world.replica()
        self._note("replica has come this far")

    def _fail_over(self) -> None:
        """What was on its way went to the old primary. A new one takes over after a while."""
        if self._replica is None:
            return
        self._note("failover", "to that replica")
        self.world.clock.advance(self._rng.randrange(500, 3_000))
        self._in_the_network = [call for call in self._in_the_network if isinstance(call.error, PyMongoError)]
        self.world.fail_over(self._replica)

    def _empty(self) -> None:
        self._note("redis comes back empty")
        self.world.fail_over(Replica({}, 0))

    def _destroy_group(self) -> None:
        if self.world.seen() is not None:
            self._note("group destroyed")
            self.world.destroy_group()

    def _ask_for_erasure(self) -> None:
        user_id = self._producers.draw_user()
        self._note("somebody asks that", user_id, "be erased")
        self.world.asked_for.append(user_id)

    def _late_arrival(self) -> None:
        """A call whose caller has long given it up takes effect."""
        if not self._in_the_network:
            return
        call = self._in_the_network.pop(self._rng.randrange(len(self._in_the_network)))
        self._note("arrives late:", call.name)
        try:
            call.take_effect()
        except (RedisError, PyMongoError) as error:
            self._note("... and fails:", str(error))

    # How

    def _store_and_erase(self, crew: Crew) -> None:
        """And look at once: what is forgotten later must have been erased before."""
        crew.store()
        crew.erase()
        self.differences += self.world.traces()

    def _start(self, kind: str) -> None:
        self._started += 1
        name = f"{kind}-{self._started}"
        now_ms = self.world.clock.now_ms
        self._processes.append(Process(name, kind, LIVES[kind](self.world, name), now_ms))

    def _let(self, process: Process, fate: Fate) -> None:
        call = process.waits_for
        if isinstance(call, Call):
            self._note(process.name, call.name, "" if fate is Fate.ARRIVES else f"({fate})")
            if fate is Fate.ARRIVES_LATER:
                self._in_the_network.append(call)
        process.step(fate, self.world.clock.now_ms)

    def _let_finish(self, processes: Iterator[Process] | list[Process]) -> None:
        for process in processes:
            while not process.pauses:
                self._let(process, Fate.ARRIVES)

    def _somebody(self) -> Process:
        """One that is awake, and in the middle of something if anybody is."""
        awake = [process for process in self._processes if not self._is_frozen(process)]
        return self._rng.choice([process for process in awake if not process.pauses] or awake)

    def _is_frozen(self, process: Process) -> bool:
        return process.frozen_until_ms > self.world.clock.now_ms

    def _note(self, *words: object) -> None:
        self.trace.append(f"{self.world.clock}  {' '.join(map(str, words))}")


def _shown(process: Process) -> str:
    return process.waits_for.name if isinstance(process.waits_for, Call) else "nothing"
