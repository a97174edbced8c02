"""MongoDB dies in mid-flush, has no primary, or is not there at all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from pymongo.errors import AutoReconnect

from .requests import INSERT
from .stage import Stage, kill_and_restart, until

_PATIENCE_S: Final = 20.0


async def kill_mongod(stage: Stage) -> int:
    """`kill -9` of mongod some milliseconds after a flush has sent its documents, and a restart."""
    inserting = asyncio.Event()
    stage.mongo_proxy.watch(INSERT, inserting.set)
    await asyncio.wait_for(inserting.wait(), _PATIENCE_S)
    await stage.pause(0, 0.01)
    await kill_and_restart(stage, stage.mongod)
    return 1


async def step_down(stage: Stage) -> int:
    """The primary of a replica set of one steps down: for some seconds there is none."""
    admin = stage.mongo_client.admin
    with suppress(AutoReconnect):
        await admin.command({"replSetStepDown": 3, "secondaryCatchUpPeriodSecs": 0, "force": True})

    async def is_primary() -> bool:
        return bool((await admin.command("hello"))["isWritablePrimary"])

    times = int(not await is_primary())
    await until(is_primary, "a primary")
    return times


async def keep_mongodb_away(stage: Stage) -> int:
    """MongoDB cannot be reached while two to three windows end."""
    stage.mongo_proxy.refusing = True
    stage.mongo_proxy.cut()
    try:
        await stage.pause(2 * stage.settings.window_seconds, 3 * stage.settings.window_seconds)
    finally:
        stage.mongo_proxy.refusing = False
    return 1
