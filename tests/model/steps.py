"""How a role is written here: as a generator that yields one store call after the other.

    entries = yield shard.read_new, "consumer-1", 3       a call: a method of a store, and its arguments
    yield PAUSE, 500                                      nothing to do for so many milliseconds

A call is one atomic step. Whoever runs the role makes the call and sends the answer back in, or throws `Trouble`, with
or without having made it. Between two calls anything may happen: other roles' calls, time, death.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final

#: A store's method with its arguments, or `PAUSE` with milliseconds.
Step = tuple[Any, ...]
Role = Generator[Step, Any, Any]

PAUSE: Final = None


class Trouble(Exception):
    """A call failed. It has taken effect, or has not, or will: the caller cannot know."""


class NoGroup(Trouble):
    """Redis answers that there is no such consumer group."""


class Died(Exception):
    """The process ended over an entry."""


class Clock:
    """The one clock; all that a role knows of time comes from Redis, which goes by it."""

    def __init__(self) -> None:
        self.now_ms = 0
        #: The latest that it ever was.
        self.latest_ms = 0

    def advance(self, ms: int) -> None:
        self.now_ms += ms
        self.latest_ms = max(self.latest_ms, self.now_ms)


class Process:
    """A role in the middle of its life, between two of its steps."""

    def __init__(self, name: str, kind: str, life: Role) -> None:
        self.name = name
        self.kind = kind
        self.sleeps_until_ms = 0
        self.frozen_until_ms = 0
        #: Its commits never get through, while it lives and reads.
        self.sick = False
        self._life = life
        self.step: Step = next(life)

    @property
    def pauses(self) -> bool:
        return self.step[0] is PAUSE

    def goes_on(self, answer: Any) -> None:
        """With the answer to its call, or with `Trouble`. Raises Died."""
        self.step = self._life.throw(answer) if isinstance(answer, Trouble) else self._life.send(answer)


def run(role: Role, make: Callable[[Step], Any]) -> Any:
    """Run to the end, undisturbed. `make` makes a call."""
    try:
        step = next(role)
        while True:
            try:
                answer = None if step[0] is PAUSE else make(step)
            except Trouble as trouble:
                step = role.throw(trouble)
            else:
                step = role.send(answer)
    except StopIteration as end:
        return end.value
