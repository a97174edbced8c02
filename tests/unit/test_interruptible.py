"""Ctrl-C: whatever a driver makes of its cancellation, it was an interruption."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from streamproc.cli.session import interruptible


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


async def reciprocal(number: int) -> float:
    await asyncio.sleep(0)
    return 1 / number


def test_work_that_nobody_interrupts_gives_its_result() -> None:
    assert interruptible(reciprocal(2)) == 0.5


async def test_work_may_be_run_in_any_thread() -> None:
    assert await asyncio.to_thread(interruptible, reciprocal(2)) == 0.5


def test_work_that_nobody_interrupts_raises_its_error() -> None:
    with pytest.raises(ZeroDivisionError):
        interruptible(reciprocal(0))


async def _answers_with_an_error() -> None:
    press_ctrl_c()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ConnectionError("cut off") from None


async def _swallows_the_first() -> None:
    press_ctrl_c()
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


async def _returns_all_the_same() -> None:
    press_ctrl_c()
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


@pytest.mark.parametrize("work", [_answers_with_an_error, _swallows_the_first, _returns_all_the_same])
def test_a_cancellation_that_a_driver_hides_is_an_interruption(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with pytest.raises(KeyboardInterrupt):
        interruptible(work())


def test_a_second_ctrl_c_waits_for_nothing() -> None:
    async def cleans_up() -> None:
        press_ctrl_c()
        try:
            await asyncio.Event().wait()
        finally:
            handlers.append(signal.getsignal(signal.SIGINT))

    handlers: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        interruptible(cleans_up())
    assert handlers == [signal.default_int_handler]


def test_ctrl_c_is_pythons_own_again_afterwards() -> None:
    interruptible(reciprocal(2))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
