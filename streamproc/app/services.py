"""The services of a worker: each runs one role again and again, waits where there is nothing to do, and backs off while
a server is away.

Start: the HTTP server first, so that probes are answered from the beginning; then each service waits for the server it
needs (`Preparing` checks it, makes what is missing, and lets the others go). Counting needs Redis alone.

Stop, within 10 s, in this order, and each step is safe to repeat:

    1. `Intake` stops reading, waits for the XREADGROUP in flight, and for what it handed over to be committed
    2. the other services stop; a flush under way ends, or its windows go back when their time is up
    3. Faust stops the agents, the HTTP server and the app
    4. the consumer leaves the group, and connections are closed
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from mode import Service

from streamproc.app.archive_watch import ArchiveWatch
from streamproc.app.condition import Condition
from streamproc.app.explain import SERVER_FAILURES, MustNotRun, explain
from streamproc.app.pod import Pod, ShardRoles
from streamproc.app.presence import report_of
from streamproc.app.quiet import QuietService
from streamproc.roles.eraser import Eraser, ErasureIncomplete

_OBSERVE_S: Final = 1.0
_ERASE_S: Final = 5.0
_TELL_S: Final = 1.0
_WATCH_S: Final = 300.0


class Preparing(QuietService):
    """Makes Redis and MongoDB ready, each as soon as it answers. A server or data that do not suit crash the worker."""

    def __init__(self, pod: Pod, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._pod = pod

    @Service.task
    async def _redis(self) -> None:
        await self._until_it_works(self._pod.redis, self._pod.prepare_redis)

    @Service.task
    async def _mongodb(self) -> None:
        await self._until_it_works(self._pod.mongodb, self._pod.prepare_mongodb)

    async def _until_it_works(self, server: Condition, prepare: Callable[[], Awaitable[None]]) -> None:
        while not self.should_stop:
            try:
                await prepare()
                return
            except (*SERVER_FAILURES, OSError) as error:
                explanation = explain(error)
                if not explanation.waiting_helps:
                    raise MustNotRun(f"{server.what}: {explanation}") from None
                server.failed(error)
            await self.sleep(server.delay_s)


class Repeating(QuietService):
    """Runs one role's `run_once` for ever.

    Args:
        server: of the shard that it is about.
        ready: what to wait for before the first run.
        run_once: returns whether there is more to do at once.
        pause_s: how long to wait where there is not.
    """

    def __init__(
        self,
        pod: Pod,
        server: Condition,
        name: str,
        ready: list[asyncio.Event],
        run_once: Callable[[], Awaitable[bool]],
        pause_s: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._pod = pod
        self._server = server
        self._activity = pod.activity(name)
        self._ready = ready
        self._run_once = run_once
        self._pause_s = pause_s

    @Service.task
    async def _repeat(self) -> None:
        for event in self._ready:
            await self.wait(event)
        while not self.should_stop:
            await self.sleep(await self._run())

    async def _run(self) -> float:
        """Run once. Returns how long to wait, in seconds."""
        try:
            more = await self._run_once()
        except (*SERVER_FAILURES, ErasureIncomplete) as error:
            return self._pod.blame(self._activity, error, self._server)
        self._activity.succeeded()
        return 0.0 if more else self._pause_s


def services_of(pod: Pod, roles: ShardRoles) -> list[Service]:
    """The repeating services of one shard."""
    both = [pod.redis_ready, pod.mongodb_ready]
    window_s = pod.settings.window_seconds

    async def observe() -> bool:
        await roles.observer.run_once()
        await roles.server_observer.run_once()
        roles.server.succeeded()
        return False

    async def flush() -> bool:
        # A flusher that cannot reach MongoDB would only move windows to and fro.
        await pod.ping_mongodb()
        return await roles.flusher.run_once() > 0

    async def keep_house() -> bool:
        await roles.janitor.run_once()
        return False

    async def keep_sessions() -> bool:
        return roles.session_keeper is not None and await roles.session_keeper.run_once() > 0

    of_shard = f"of shard {roles.shard.number}"
    services = [
        Repeating(pod, roles.server, f"observing {of_shard}", [pod.redis_ready], observe, _OBSERVE_S),
        # Two: while MongoDB stores what one has folded, the other folds.
        Repeating(pod, roles.server, f"flushing {of_shard}", both, flush, min(1.0, window_s / 10)),
        Repeating(pod, roles.server, f"flushing {of_shard}", both, flush, min(1.0, window_s / 10)),
        Repeating(pod, roles.server, f"housekeeping {of_shard}", both, keep_house, min(30.0, window_s)),
    ]
    if roles.session_keeper:
        keeping = f"keeping session documents {of_shard}"
        services.append(Repeating(pod, roles.server, keeping, both, keep_sessions, min(1.0, window_s / 10)))
    return services


def erasing(pod: Pod, eraser: Eraser) -> Service:
    """The repeating service of a pod that erases people, in all shards and in what is stored of them."""

    async def erase() -> bool:
        await eraser.run_once()
        return False

    both = [pod.redis_ready, pod.mongodb_ready]
    # It begins with the first shard, by whose time it goes; of others that are away it tells itself.
    return Repeating(pod, pod.shards[0].server, "erasing", both, erase, min(_ERASE_S, pod.settings.window_seconds))


def watching_archive(pod: Pod, watch: ArchiveWatch) -> Service:
    """The repeating service of a pod that tells of days that are not archived in time."""

    async def look() -> bool:
        await watch.run_once()
        return False

    both = [pod.redis_ready, pod.mongodb_ready]
    return Repeating(pod, pod.shards[0].server, "watching the archive", both, look, _WATCH_S)


def telling(pod: Pod) -> Service:
    """The repeating service of a pod that says how it is."""

    async def tell() -> bool:
        await pod.presence.tell(pod.consumer_name, report_of(pod))
        return False

    return Repeating(pod, pod.shards[0].server, "saying how it is", [pod.redis_ready], tell, _TELL_S)
