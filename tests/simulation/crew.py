"""Roles that nothing happens to: they bring a world to rest."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from .faults import run
from .world import WINDOWING, World

_MOST_RUNS: Final = 200


class Crew:
    """One of each. Its consumer takes over whatever others have left."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._consumer = world.consumer("last")
        self._flusher = world.flusher()
        self._janitor = world.janitor()
        self._eraser = world.eraser()

    def store(self) -> None:
        """Count what is left, and flush what is open, also what somebody else had taken."""
        world = self._world
        run(world.stream("last").ensure_group())
        self._consumer.look_for_abandoned()
        _until_nothing_is_left(self._consumer.run_once)
        world.clock.advance(WINDOWING.length_ms + WINDOWING.grace_ms + WINDOWING.quiet_ms + WINDOWING.future_ms)
        _until_nothing_is_left(self._flusher.run_once)

    def forget(self) -> None:
        world = self._world
        world.clock.advance(WINDOWING.forgettable_at(0))
        run(self._janitor.run_once())

    def erase(self) -> None:
        """Complete what was asked for; and all of it once more, as in an hour somebody would."""
        world = self._world
        world.server.call("DEL", world.keys.turn("erased"))
        run(self._eraser.run_once())
        for _ in range(_MOST_RUNS):
            if not run(world.erasures.unfinished()):
                return
            world.clock.advance(world.policies.erase.flush_visibility_ms)
            run(self._eraser.run_once())
        raise AssertionError(f"an erasure is not complete after {_MOST_RUNS} runs")

    def sweep(self) -> None:
        self._world.clock.advance(self._world.policies.keep.sweep_ms)
        run(self._janitor.run_once())


def _until_nothing_is_left(run_once: Callable[[], Coroutine[Any, Any, int]]) -> None:
    for _ in range(_MOST_RUNS):
        if not run(run_once()):
            return
    raise AssertionError(f"there is still something to do after {_MOST_RUNS} runs: this never comes to rest")
