"""Ending work that was interrupted: cancelled until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final

_CANCEL_AGAIN_S: Final = 0.1


async def end(work: Collection[asyncio.Task[Any]]) -> None:
    """Cancel until all has ended: a driver under way may swallow one cancellation (`wait_for` does, in Python 3.11).

    https://github.com/python/cpython/issues/86296
    """
    while running := [task for task in work if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
