"""The point at which things go wrong: every call of a store passes through here, and somebody decides its fate.

A role is a coroutine that waits for nothing but its stores. So it needs no event loop: it is sent on from store call
to store call by hand, as `Process` does. To stop doing so is to freeze it; to close it is to kill it, between exactly
these two calls; and nothing runs in between that was not asked to.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Fate(StrEnum):
    """What becomes of a call."""

    ARRIVES = "arrives"
    #: The caller sees an error, and nothing has happened.
    NEVER_ARRIVES = "never arrives"
    #: The caller sees an error, and it has happened.
    REPLY_LOST = "reply lost"
    #: The caller sees an error, and it happens some time later.
    ARRIVES_LATER = "arrives later"


class Call(NamedTuple):
    """A call that a store is about to make."""

    name: str
    take_effect: Callable[[], Any]
    #: What the caller sees if it fails.
    error: Exception


class Pause(NamedTuple):
    """A role has nothing to do for this long."""

    ms: int


@types.coroutine
def _ask(what: Call | Pause) -> Generator[Call | Pause, Fate, Fate]:
    return (yield what)


async def carry_out(call: Call) -> Any:
    """Make a call, and let the scheduler say what becomes of it.

    Raises:
        Exception: the call's own error, where the scheduler says so; or what taking effect raises.
    """
    fate = await _ask(call)
    if fate in (Fate.NEVER_ARRIVES, Fate.ARRIVES_LATER):
        raise call.error
    answer = call.take_effect()
    if fate is Fate.REPLY_LOST:
        raise call.error
    return answer


async def pause(ms: int) -> None:
    await _ask(Pause(ms))


def run(work: Coroutine[Any, Any, T], fate_of: Callable[[Call], Fate] = lambda _: Fate.ARRIVES) -> T:
    """Run to the end. `fate_of` is asked about every call; it may raise, which ends the work there."""
    try:
        asked = work.send(None)
        while True:
            asked = work.send(Fate.ARRIVES if isinstance(asked, Pause) else fate_of(asked))
    except StopIteration as end:
        answer: T = end.value
        return answer
    finally:
        work.close()


class Act:
    """One run of a role, taken on call by call.

    Args:
        work: the run, such as `flusher.run_once()`.
    """

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self._waits_for: Call | Pause = work.send(None)

    def until(self, name: str) -> Act:
        """On to the moment before the next call of this name. It must come to that."""
        while not (isinstance(self._waits_for, Call) and self._waits_for.name == name):
            self._waits_for = self._work.send(Fate.ARRIVES)
        return self

    def after(self, name: str) -> Act:
        """On to the moment after the next call of this name, before the one that follows it."""
        self.until(name)
        self._waits_for = self._work.send(Fate.ARRIVES)
        return self

    def ends(self) -> None:
        with suppress(StopIteration):
            while True:
                self._waits_for = self._work.send(Fate.ARRIVES)

    def dies(self) -> None:
        self._work.close()


class Process:
    """One process of a pod, between two of its store calls.

    Args:
        life: never ends by itself.
    """

    def __init__(self, name: str, kind: str, life: Coroutine[Any, Any, None], now_ms: int) -> None:
        self.name = name
        self.kind = kind
        self._life = life
        self.sleeps_until_ms = now_ms
        self.frozen_until_ms = 0
        self.waits_for: Call | Pause = life.send(None)

    @property
    def pauses(self) -> bool:
        """Whether it is between two runs, with nothing in hand."""
        return isinstance(self.waits_for, Pause)

    def runs_at_ms(self) -> int:
        return max(self.sleeps_until_ms, self.frozen_until_ms)

    def step(self, fate: Fate, now_ms: int) -> None:
        """Let it make the call that it waits for, and go on to the next."""
        self.waits_for = self._life.send(fate)
        if isinstance(self.waits_for, Pause):
            self.sleeps_until_ms = now_ms + self.waits_for.ms

    def kill(self) -> None:
        """No handler of an exception runs; what it knew is gone."""
        self._life.close()
