"""One shard, one MongoDB, everybody who works on them, and the truth. Processes are taken on step by step."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any, Final

from .consumer import Consumer
from .eraser import Eraser
from .flusher import Flusher
from .janitor import Janitor
from .mongodb import MongoDB
from .oracle import Truth
from .planning import Event
from .shard import Shard
from .steps import PAUSE, Clock, Died, Process, Role, Step, Trouble

_START_MS: Final = 100_000
_PAUSE_MS: Final = {"flusher": 1_000, "janitor": 3_000, "eraser": 1_500}
_BACK_OFF_MS: Final = 200


class World:
    """The beginning: an empty shard, nobody at work.

    Attributes:
        differences: what was wrong at any time, so far.
        in_the_network: calls whose caller has given them up, and which may still arrive.
        asked_for: users who want to be erased.
    """

    def __init__(self, rng: Random, retention_ms: int, *, traced: bool = False) -> None:
        self.rng = rng
        self.clock = Clock()
        self.clock.advance(_START_MS)
        self.shard = Shard(self.clock)
        self.mongodb = MongoDB()
        self.mongodb_away = False
        self.truth = Truth(self.shard, self.mongodb)
        self.processes: list[Process] = []
        self.in_the_network: list[Step] = []
        self.asked_for: list[str] = []
        self.differences: list[str] = []
        self.steps = 0
        self.trace: list[str] | None = [] if traced else None
        self._retention_ms = retention_ms
        self._started = 0

    # Roles

    def consumer(self, name: str) -> Consumer:
        return Consumer(self.shard, name)

    def flusher(self) -> Flusher:
        return Flusher(self.shard, self.mongodb, self.rng)

    def janitor(self) -> Janitor:
        return Janitor(self.shard, self.mongodb, self._retention_ms)

    def eraser(self) -> Eraser:
        return Eraser(self.shard, self.mongodb, self.rng)

    # Processes

    def start(self, kind: str) -> Process:
        self._started += 1
        name = f"{kind}-{self._started}"
        process = Process(name, kind, self._life(kind, name))
        self.processes.append(process)
        return process

    def end(self, process: Process) -> None:
        """Kill it, between two of its steps. Another takes its place."""
        self.processes.remove(process)
        self.start(process.kind)

    def is_frozen(self, process: Process) -> bool:
        return process.frozen_until_ms > self.clock.now_ms

    def let(self, process: Process, fate: str = "") -> None:
        """Let a process take its step.

        Between the mark of a suspect entry and its trial nothing happens here: whose process ends then is condemned,
        guilty or not. That is the price of the rule.
        """
        while process in self.processes and process.step[0] == self.shard.suspect:
            self._let(process, "spared")
            fate = "spared"
        if process in self.processes:
            self._let(process, fate)

    def make(self, step: Step) -> Any:
        """A call arrives."""
        call, *arguments = step
        if call.__self__ is not self.mongodb:
            return call(*arguments)
        if self.mongodb_away:
            raise Trouble
        answer = call(*arguments)
        if call.__name__ in ("insert", "delete", "erase_user"):
            self.differences += self.truth.look()
        return answer

    # The outside

    def publish(self, event: Event) -> None:
        entry_id = self.shard.add(event, len(self.truth.entries))
        self.truth.published(entry_id, event)
        self.note("published", entry_id, *event)

    def fail_over(self, snapshot: dict[str, Any], published: int) -> None:
        """The primary is gone, and with it what it had not handed on, and what was on its way to it."""
        self.in_the_network = [step for step in self.in_the_network if step[0].__self__ is self.mongodb]
        self.shard.restore(snapshot)
        self.truth.loses(range(published, len(self.truth.entries)))

    def late_arrival(self) -> None:
        """Of a call that its caller has long given up."""
        if self.in_the_network:
            step = self.in_the_network.pop(self.rng.randrange(len(self.in_the_network)))
            self.note("arrives late:", shown(step))
            with suppress(Trouble):
                self.make(step)

    def note(self, *words: object) -> None:
        if self.trace is not None:
            self.trace.append(f"{(self.clock.now_ms - _START_MS) / 1000:9.3f} s  {' '.join(map(str, words))}")

    def _let(self, process: Process, fate: str) -> None:
        self.steps += 1
        step = process.step
        if step[0] is PAUSE:
            process.sleeps_until_ms = self.clock.now_ms + step[1]
            process.goes_on(None)
            return
        if process.sick and fate != "spared" and step[0] == self.shard.commit:
            fate = "never arrives"
        if self.trace is not None:
            self.note(process.name, shown(step), f"({fate})" if fate else "")
        if fate == "arrives later":
            self.in_the_network.append(step)
        try:
            answer = None if fate in ("never arrives", "arrives later") else self.make(step)
            if fate in ("never arrives", "arrives later", "reply lost"):
                raise Trouble
        except Trouble as trouble:
            self._goes_on(process, trouble)
        else:
            self._goes_on(process, answer)

    def _goes_on(self, process: Process, answer: Any) -> None:
        try:
            process.goes_on(answer)
        except Died as died:
            self.note(process.name, "died over", died)
            self.end(process)

    # What each process does all its life

    def _life(self, kind: str, name: str) -> Role:
        if kind == "consumer":
            return self.consumer(name).live()
        once = {"flusher": self.flusher().run_once, "janitor": self.janitor().run_once, "eraser": self._erase}[kind]
        return self._repeat(once, _PAUSE_MS[kind])

    def _repeat(self, run_once: Any, pause_ms: int) -> Role:
        yield PAUSE, 0
        while True:
            try:
                idle = yield from run_once()
            except Trouble:
                yield PAUSE, _BACK_OFF_MS
            else:
                if idle is not False:
                    yield PAUSE, pause_ms

    def _erase(self) -> Role:
        """Whoever gets no answer asks again."""
        eraser = self.eraser()
        if self.asked_for:
            user = self.asked_for.pop()
            try:
                yield from eraser.ask(user)
            except Trouble:
                self.asked_for.append(user)
        yield from eraser.run_once()


def shown(step: Step) -> str:
    """A call, for the trace."""
    if step[0] is PAUSE:
        return "nothing"
    return f"{step[0].__name__}({', '.join(map(str, step[1:]))})"
