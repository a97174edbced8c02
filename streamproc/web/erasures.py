"""Erasures that were asked for here: carried on in the background, one step at a time, until they are complete.

Every request is an erasure of its own, with a receipt of its own, also while another of the same user is under way:
each covers everything up to the moment it was asked for. Workers carry out what this process does not live to see.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Final

import msgspec

from streamproc.app.connections import Connections
from streamproc.app.erasing import NO_KEY, make_eraser, require_erasure_key
from streamproc.core.erasures import Erasure, State
from streamproc.metrics import Metrics
from streamproc.roles.eraser import Eraser
from streamproc.stores.mongo.erasures import ErasureStore, UnknownErasure
from streamproc.stores.redis import failures as redis
from streamproc.stores.redis.shard import LayoutMismatch
from streamproc.web.problems import Problem

logger = logging.getLogger(__name__)

# How long until a layer that was away is tried again. A worker does the same, so it is not urgent.
_AGAIN_S: Final = 5.0
# A wait for the second pass ends a little later than Redis says, so that it is not asked in vain.
_ROUNDING_S: Final = 0.05

Count = Annotated[int, msgspec.Meta(ge=0)]


class ErasureStarted(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure that was asked for. It is written down, and will be carried out."""

    erasure_id: str
    state: State


class Receipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an erasure covers, how far it has come, and what it found and erased. Who, only by the keyed hash.

    Attributes:
        session_ids: the sessions that were erased, each by its keyed hash.
        passes: what was found, by pass, layer and kind.
        trouble: what kept the last pass from a layer, by layer.
    """

    erasure: str
    state: State
    user_hash: str
    covers_windows_until: str
    started_at: str
    ended_at: str | None
    sessions_deleted: Count
    session_ids: list[str]
    timeseries_docs_deleted: Count
    redis_segments_deleted: Count
    redis_windows_deleted: Count
    stream_entries_deleted: Count
    dead_letters_deleted: Count
    archive_rows_deleted: Count
    archive_files_rewritten: Count
    passes: dict[str, dict[str, dict[str, Count]]]
    trouble: dict[str, str]


class Erasures:
    """Starts erasures, carries them on, and shows their receipts."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._store = ErasureStore(connections.database)
        # What an eraser counts are its rounds over all erasures, which only workers make.
        self._eraser = make_eraser(connections, Metrics())
        self._under_way: dict[str, tuple[float, Erasure]] = {}
        self._started = asyncio.Event()

    async def start(self, user_id: str) -> ErasureStarted:
        """Ask for an erasure. When this returns it is written down.

        Raises:
            Problem: nobody could be recognised as erased; the message says what to do.
            redis.exceptions.RedisError, pymongo.errors.PyMongoError: it may not be written down; ask again.
        """
        eraser = self._require_eraser()
        try:
            await require_erasure_key(self._connections)
        except LayoutMismatch as error:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
        erasure = await eraser.request(user_id)
        self._under_way[erasure.id] = (0.0, erasure)
        self._started.set()
        return ErasureStarted(erasure_id=erasure.id, state=erasure.state)

    async def receipt(self, erasure_id: str) -> Receipt:
        """Raises Problem where there is none, pymongo.errors.PyMongoError."""
        try:
            erasure = await self._store.load(erasure_id)
        except UnknownErasure:
            raise Problem(HTTPStatus.NOT_FOUND, "there is no erasure of that id") from None
        return msgspec.convert(erasure.receipt(), Receipt)

    async def run(self) -> None:
        """Carry on with all of them, one after the other, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._started.clear()
            for due_s, erasure in list(self._under_way.values()):
                if due_s <= loop.time():
                    await self._carry_on(erasure)
            await self._until(min((due_s for due_s, _ in self._under_way.values()), default=None))

    async def _carry_on(self, erasure: Erasure) -> None:
        eraser = self._require_eraser()
        del self._under_way[erasure.id]
        try:
            erasure = await eraser.advance(erasure)
        except UnknownErasure:
            logger.warning("erasure %s: its request has been deleted, so it does not go on", erasure.id)
            return
        if erasure.state is State.COMPLETE:
            return
        pause_s = _AGAIN_S
        if not erasure.trouble:
            # Redis away is as a layer that was away: tried again after the pause.
            with suppress(*redis.FAILURES):
                pause_s = await eraser.wait_ms(erasure) / 1000 + _ROUNDING_S
        self._under_way[erasure.id] = (asyncio.get_running_loop().time() + pause_s, erasure)

    def _require_eraser(self) -> Eraser:
        if self._eraser is None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, NO_KEY)
        return self._eraser

    async def _until(self, when_s: float | None) -> None:
        """Wait until then, or until another erasure is asked for."""
        try:
            async with asyncio.timeout_at(when_s):
                await self._started.wait()
        except TimeoutError:
            return
