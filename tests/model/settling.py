"""Quiet: time passes until everything is counted, stored, erased, forgotten and swept. Then the verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .settings import AGAIN_MS, CLAIM_IDLE_MS, SWEEP_MS, VISIBILITY_MS, WINDOWING
from .steps import Died, Process, Role, run
from .world import World

_MOST_RUNS: Final = 100


def settle(world: World) -> None:
    """Sleepers wake twice: before everything is stored, and when it is forgotten. Neither may do any harm."""
    _let_finish(world, [one for one in world.processes if not world.is_frozen(one) and not one.sick])
    _store(world)
    _erase(world)
    world.differences += world.truth.unlike_redis()
    _forget(world)
    _let_finish(world, list(world.processes))
    while world.in_the_network:
        world.late_arrival()
    _store(world)
    _erase(world)
    _forget(world)
    world.clock.advance(SWEEP_MS)
    run(world.janitor().run_once(), world.make)
    world.differences += world.truth.verdict()


def _let_finish(world: World, processes: list[Process]) -> None:
    for process in processes:
        for _ in range(_MOST_RUNS):
            world.let(process)
            if process.pauses or process not in world.processes:
                break


def _store(world: World) -> None:
    world.shard.ensure_group()
    _count(world)
    world.clock.advance(WINDOWING.length_ms + WINDOWING.grace_ms + WINDOWING.quiet_ms + WINDOWING.future_ms)
    _until_idle(world.flusher().run_once, world)


def _count(world: World) -> None:
    """What is left, also what others had left pending. A sick consumer holds on to what it has, but to no more."""
    sick = [process for process in world.processes if process.sick]
    for _ in range(4):
        world.clock.advance(CLAIM_IDLE_MS // 4 + 1)
        for process in sick:
            for _ in range(_MOST_RUNS):
                world.let(process)
    _take_over(world)
    if sick:
        held_by = {one.consumer for one in world.shard.pending.values()} - {process.name for process in sick}
        world.differences += [f"nobody takes over what {name} had left" for name in sorted(held_by)]
        world.processes = [process for process in world.processes if not process.sick]
        world.clock.advance(CLAIM_IDLE_MS)
        _take_over(world)


def _take_over(world: World) -> None:
    for number in range(_MOST_RUNS):
        consumer = world.consumer(f"last-{number}")
        try:
            _until_idle(consumer.run_once, world)
        except Died:
            world.clock.advance(CLAIM_IDLE_MS)
        else:
            return
    raise AssertionError("consumers never stop dying")


def _erase(world: World) -> None:
    """Complete what was asked for; and all of it once more, as somebody would after a while."""
    while world.asked_for:
        run(world.eraser().ask(world.asked_for.pop()), world.make)
    world.clock.advance(AGAIN_MS)
    run(world.eraser().run_once(), world.make)
    while world.mongodb.unfinished():
        world.clock.advance(VISIBILITY_MS)
        run(world.eraser().run_once(), world.make)
    world.differences += world.truth.of_the_erased()


def _forget(world: World) -> None:
    world.clock.advance(WINDOWING.forgettable_at(0))
    run(world.janitor().run_once(), world.make)


def _until_idle(run_once: Callable[[], Role], world: World) -> None:
    for _ in range(_MOST_RUNS):
        if run(run_once(), world.make):
            return
    raise AssertionError("there is always something left to do")
