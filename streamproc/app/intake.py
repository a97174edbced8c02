"""Counting: an intake reads batches of a shard ahead, its agent plans and commits them, and both overlap.

While the agent plans one batch, Redis carries out the commit of the last and reads the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from mode import Service

from streamproc.app.pod import Pod, ShardRoles
from streamproc.app.quiet import QuietService
from streamproc.core.commits import Plan
from streamproc.roles.consumer import Consumer
from streamproc.stores.redis.entries import Batch
from streamproc.stores.redis.failures import FAILURES

logger = logging.getLogger(__name__)

_DRAIN_S: Final = 5.0


class Intake(QuietService):
    """Reads batches of one shard and hands them to its agent, one ahead of what the agent is at."""

    def __init__(
        self, pod: Pod, roles: ShardRoles, hand_over: Callable[[Batch], Awaitable[Any]], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._pod = pod
        self._roles = roles
        self._hand_over = hand_over
        self._counting = pod.activity(f"counting of shard {roles.shard.number}")
        self._outstanding = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._not_reading = asyncio.Event()
        self._not_reading.set()

    @Service.task
    async def _read(self) -> None:
        await self.wait(self._pod.redis_ready)
        while not self.should_stop:
            self._pod.moved(self._roles.shard.number)
            asked_for = self._roles.consumer.appetite
            batch = await self._next_batch()
            if batch is None or not self._counting.holds:
                await self._idle.wait()  # what is in flight is still pending: reading it again would be in vain
                await self.sleep(max(self._roles.server.delay_s, self._counting.delay_s))
            if batch is not None and batch.entries:
                self._outstanding += 1
                self._idle.clear()
                await self._hand_over(batch)
                if len(batch.entries) < asked_for:
                    await self.sleep(self._pod.settings.commit_interval_seconds)

    @Service.task
    async def _look_for_abandoned(self) -> None:
        while not self.should_stop:
            self._roles.consumer.look_for_abandoned()
            await self.sleep(self._pod.settings.claim_idle_seconds / 2)

    async def _next_batch(self) -> Batch | None:
        """The next batch; None after trouble with Redis."""
        self._not_reading.clear()
        try:
            batch = await self._roles.consumer.next_batch()
        except FAILURES as error:
            await self._after_trouble(error)
            return None
        finally:
            self._not_reading.set()
        self._roles.server.succeeded()
        if not (batch.entries or self._outstanding or self._roles.consumer.in_doubt):
            self._counting.succeeded()  # there is nothing left that could fail
        return batch

    async def _after_trouble(self, error: Exception) -> None:
        self._roles.consumer.doubt()
        if "NOGROUP" not in str(error):  # not at its beginning: a pipeline puts the command before it
            self._pod.blame(self._counting, error, self._roles.server)
            return
        try:
            await self._pod.ensure_group(self._roles)
        except FAILURES as again:
            self._pod.blame(self._counting, again, self._roles.server)

    def committed(self) -> None:
        """The agent is done with one batch."""
        self._counting.succeeded()
        self._one_less()

    def not_committed(self, error: Exception) -> None:
        """The agent failed with one batch: its entries are still pending, and will be read again."""
        self._pod.blame(self._counting, error, self._roles.server)
        self._roles.consumer.doubt()
        self._one_less()

    def _one_less(self) -> None:
        self._outstanding -= 1
        if not self._outstanding:
            self._idle.set()

    async def on_stop(self) -> None:
        """Drain: what was delivered to this pod is committed, or stays pending for another."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._not_reading.wait()
                await self._idle.wait()
        except TimeoutError:
            logger.warning("%s does not answer: other pods take over what was read here", self._roles.server.what)


class Committing:
    """What the agent does with each batch: plan it while Redis carries out the last commit, then commit it."""

    def __init__(self, consumer: Consumer, intake: Intake) -> None:
        self._consumer = consumer
        self._intake = intake
        self._in_flight: asyncio.Task[None] | None = None

    async def handle(self, batch: Batch) -> None:
        """Plan a batch, collect the last commit's answer, send this one. Returns once it is on its way."""
        try:
            plan = await self._consumer.plan(batch)
        except FAILURES as error:
            self._intake.not_committed(error)
            return
        if self._in_flight is not None:
            await self._in_flight
        self._in_flight = asyncio.create_task(self._commit(plan))
        await asyncio.sleep(0)  # lets the commit be written to the socket before the next batch is planned

    async def _commit(self, plan: Plan) -> None:
        try:
            await self._consumer.commit(plan)
        except FAILURES as error:
            self._intake.not_committed(error)
        except Exception as error:
            # A task's exception would be seen only with the next batch, which may never come.
            await self._intake.crash(error)
        else:
            self._intake.committed()
