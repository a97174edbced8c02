"""The demo: simulated dubbing workers publish, pods count, and at the end truth and store are compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from streamproc.app.settings import Settings
from streamproc.demo import publishing as traffic
from streamproc.demo.oracle import Difference, Oracle
from streamproc.demo.simulation import Simulated, Simulation
from streamproc.demo.stage import Web, Worker, require_servers
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.redis.connect import connect, nodes_of
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import Survey, survey

_LOOK_S: Final = 0.5
_SETTLE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Script:
    """What is played."""

    #: How long to publish; None: until told to stop.
    seconds: float | None = 40.0
    rate: float = 400.0
    sessions: int = 200
    channels: int = 20
    workers: int = 2
    seed: int = 1


@dataclass(slots=True)
class Progress:
    """Where the demo stands, for whoever shows it."""

    published: int = 0
    late: int = 0
    counted: int = 0
    duplicates: int = 0
    dead: int = 0
    open_windows: int = 0
    stored: int = 0
    lag: int = 0
    note: str = ""


@dataclass(slots=True)
class Result:
    """How it ended."""

    oracle: Oracle
    documents: list[dict[str, Any]]
    differences: list[Difference]
    dead_by_reason: dict[str, int] = field(default_factory=dict)
    imbalance: int | None = None
    unsettled: str = ""
    counted: int = 0

    @property
    def exact(self) -> bool:
        return not self.differences and not self.unsettled and self.imbalance == 0


class Play:
    """One performance.

    Args:
        show: called twice a second with the progress.
        stop: set it to stop publishing early; what was published is still settled and compared.
    """

    def __init__(
        self,
        settings: Settings,
        variables: dict[str, str],
        script: Script,
        show: Callable[[Progress], None],
        stop: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._script = script
        self._show = show
        self._stop = stop
        self._redis = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster)
        self._mongo = mongo.connect(settings.mongodb_url.get_secret_value(), app_name="streamproc-demo")
        self._collection = self._mongo[settings.mongodb_database][COLLECTION]
        self._shards = [
            Shard(self._redis, number=number, prefix=settings.prefix, group=settings.group)
            for number in range(settings.shards)
        ]
        self._oracle = Oracle(settings.window_seconds)
        self._progress = Progress()
        self._has_data = False
        self.workers = [Worker(number + 1, variables) for number in range(script.workers)]
        self.web = Web(variables)

    async def perform(self) -> Result:
        """Start the workers, publish, settle, compare.

        Raises:
            ServerAway, WorkerFailed, PublishFailed: the message says what happened.
        """
        await require_servers(self._settings, self._redis, self._mongo)
        self._has_data = True
        await asyncio.gather(*(one.start() for one in (*self.workers, self.web)))
        pids = ", ".join(str(worker.pid) for worker in self.workers)
        self._progress.note = (
            f"dashboard: {self.web.url}\nworkers run as process {pids}: kill one, the result must not change"
        )
        curtain = asyncio.Event()
        looking = asyncio.create_task(self._keep_looking(curtain))
        try:
            await self._publish()
            unsettled = await self._settle()
        finally:
            curtain.set()
            await looking
        documents = [document async for document in self._collection.find({}, {"_id": 0})]
        seen = await self._survey()
        balances = [one.ledger.imbalance() for one in seen]
        return Result(
            oracle=self._oracle,
            documents=documents,
            differences=self._oracle.compare(documents),
            dead_by_reason=await self._dead_by_reason(),
            imbalance=None if None in balances else sum(balance or 0 for balance in balances),
            unsettled=unsettled,
            counted=sum(one.ledger.counted for one in seen),
        )

    async def close(self, *, remove_data: bool) -> None:
        """Stop the processes and, on servers that are not the demo's own, remove what it stored."""
        await asyncio.gather(*(one.stop() for one in (*self.workers, self.web)))
        if remove_data and self._has_data:
            for node in (await nodes_of(self._redis)).values():
                async for key in node.scan_iter(match=f"{self._settings.prefix}:*", count=1000):
                    await node.unlink(key)
            await self._mongo.drop_database(self._settings.mongodb_database)
        await self._redis.aclose()
        await self._mongo.close()

    async def _publish(self) -> None:
        settings, script, windowing = self._settings, self._script, self._settings.windowing
        simulation = Simulation(
            script.seed,
            sessions=script.sessions,
            channels=script.channels,
            window_ms=windowing.length_ms,
            grace_ms=windowing.grace_ms,
            horizon_ms=windowing.horizon_ms,
            future_ms=windowing.future_ms,
        )
        until = asyncio.Event()
        publishing = asyncio.create_task(
            traffic.run(
                simulation,
                self._redis,
                rate=script.rate,
                until=until,
                on_published=self._record,
                prefix=settings.prefix,
                shards=settings.shards,
            )
        )
        enough = asyncio.create_task(self._stop.wait())
        await asyncio.wait((enough, publishing), timeout=script.seconds, return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        until.set()
        await publishing

    def _record(self, batch: Sequence[Simulated]) -> None:
        for entry in batch:
            self._oracle.record(entry.kind, entry.event)

    async def _settle(self) -> str:
        """Wait until everything published is stored. Returns what is still under way when patience ends."""
        give_up_s = time.monotonic() + _SETTLE_S
        while True:
            seen = await self._survey()
            under_way = [
                f"{number} {name}"
                for name, number in (
                    ("pending entries", sum(one.pending for one in seen)),
                    ("undelivered entries", sum(one.lag_entries for one in seen)),
                    ("open windows", sum(one.open + one.taken for one in seen)),
                )
                if number
            ]
            if not under_way:
                return ""
            if time.monotonic() > give_up_s:
                return ", ".join(under_way)
            await asyncio.sleep(_LOOK_S)

    async def _keep_looking(self, curtain: asyncio.Event) -> None:
        """Show the progress, and replace workers that ended."""
        while not curtain.is_set():
            await self._replace_the_fallen()
            await self._look()
            self._show(self._progress)
            await asyncio.sleep(_LOOK_S)

    async def _replace_the_fallen(self) -> None:
        for worker in self.workers:
            if worker.ended is not None:
                self._progress.note = (
                    f"worker {worker.number} ended ({worker.ended}): another takes over, a new one starts"
                )
                await worker.start()

    async def _look(self) -> None:
        progress, seen = self._progress, await self._survey()
        progress.published = self._oracle.published.total()
        progress.late = self._oracle.published["late"]  # type: ignore[index]
        progress.counted = sum(one.ledger.counted for one in seen)
        progress.duplicates = sum(one.ledger.duplicates for one in seen)
        progress.dead = sum(one.ledger.dead_lettered for one in seen)
        progress.open_windows = sum(one.open + one.taken for one in seen)
        progress.lag = sum(one.lag_entries + one.pending for one in seen)
        progress.stored = await self._collection.count_documents({})

    async def _survey(self) -> list[Survey]:
        seen = [await survey(shard) for shard in self._shards]
        return [one for one in seen if one is not None]

    async def _dead_by_reason(self) -> dict[str, int]:
        reasons: dict[str, int] = {}
        for shard in self._shards:
            for _entry_id, flat in await shard.client.execute_command("XRANGE", shard.keys.dead, "-", "+"):
                fields = dict(zip(flat[::2], flat[1::2], strict=True))
                reason = fields[b"reason"].decode()
                reasons[reason] = reasons.get(reason, 0) + 1
        return reasons
