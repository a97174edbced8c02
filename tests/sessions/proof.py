"""The proof: old session documents, their hours, and everything that may happen meanwhile; then the sums are compared.

before   old documents are there, and workers store hours of theirs, knowing nothing of session documents
after    workers that do keep them; half of the sessions go on, with late events for hours that are stored already
         and repeated ones, while workers are killed, and while the migration runs, is killed, and is started again
judged   every hour against what was published; every document against the sum of its hours; the old model reads
         every document as before; nothing else of it and no index has changed
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

from streamproc.app.settings import PREFIX
from streamproc.demo.oracle import Kind, Oracle
from streamproc.demo.stage import Worker, settings_of
from streamproc.publisher.concurrent import SegmentPublisher
from streamproc.stores.mongo.collection import COLLECTION as MEASUREMENTS
from streamproc.stores.mongo.connect import connect as connect_mongodb
from streamproc.stores.mongo.sessions import COLLECTION as SESSIONS
from streamproc.stores.redis.connect import connect as connect_redis
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import survey

from .old_model import INDEXES, LiveDubbingSession, differences, old_session

_T = TypeVar("_T")

_LATE_SHARE: Final = 0.2
_REPEATED_SHARE: Final = 0.05
_ERROR_SHARE: Final = 0.02
_AT_ONCE: Final = 1000
_PATIENCE_S: Final = 600.0
_NAME: Final = "sessions_proof"


@dataclass(slots=True)
class Plan:
    """How much of it. Sessions, windows of so many seconds, worker processes, and how often one is killed."""

    sessions: int
    window_s: int = 2
    workers: int = 2
    kills: int = 3
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """What came of it. All but the first four must be 0."""

    sessions: int = 0
    segments: int = 0
    hours: int = 0
    kills: int = 0
    migration_s: float = 0.0
    migrations: list[str] = field(default_factory=list)
    wrong_hours: int = 0
    wrong_documents: int = 0
    changed_documents: int = 0
    changed_indexes: int = 0

    @property
    def passed(self) -> bool:
        wrong = self.wrong_hours + self.wrong_documents + self.changed_documents + self.changed_indexes
        return wrong == 0 and self.segments > 0 and self.kills > 0 and len(self.migrations) > 1


class Proof:
    """One run, on given servers."""

    def __init__(self, redis_url: str, mongodb_url: str, plan: Plan, say: Callable[[str], None]) -> None:
        own = {
            "REDIS_URL": redis_url,
            "MONGODB_URL": mongodb_url,
            "PREFIX": _NAME,
            "MONGODB_DATABASE": _NAME,
            "WINDOW_SECONDS": str(plan.window_s),
            "GRACE_SECONDS": "0.5",
            "LATE_QUIET_SECONDS": "0.5",
            "LATE_HORIZON_SECONDS": "3600",
            "CLAIM_IDLE_SECONDS": "1",
            "FLUSH_VISIBILITY_SECONDS": "3",
        }
        self._variables = {f"{PREFIX}{name}": value for name, value in own.items()}
        self._settings = settings_of(self._variables)
        self._plan = plan
        self._say = say
        self._rng = random.Random(plan.seed)
        self._redis = connect_redis(redis_url)
        self._shard = Shard(self._redis, prefix=_NAME, group=self._settings.group)
        self._mongodb = connect_mongodb(mongodb_url, app_name="tests")
        self._database = self._mongodb[_NAME]
        self._publisher = SegmentPublisher(self._redis, prefix=_NAME)
        self._oracle = Oracle(plan.window_s)
        self._workers: list[Worker] = []
        self._published: list[dict[str, Any]] = []
        self._outcome = Outcome(sessions=plan.sessions)

    async def close(self) -> None:
        for worker in self._workers:
            await worker.stop()
        await self._mongodb.drop_database(_NAME)
        await self._mongodb.close()
        await self._redis.flushall()
        await self._redis.aclose()

    async def run(self) -> Outcome:
        """Raises TimeoutError where it does not come to rest."""
        old, indexes = await self._make_old_documents()
        await self._store_hours_before()
        await self._go_on()
        await _until(partial(self._rests, kept=True))
        await self._judge(old, indexes)
        return self._outcome

    async def _make_old_documents(self) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
        collection = self._database[SESSIONS]
        await collection.create_indexes(INDEXES)
        started = datetime.now(UTC) - timedelta(days=1)
        for numbers in _batches(range(self._plan.sessions)):
            ended = {"status": "completed", "ended_at": started + timedelta(hours=20)}
            await collection.insert_many(
                [
                    old_session(f"session-{n}", started, user_id=f"user-{n}", **(ended if n % 3 == 0 else {}))
                    for n in numbers
                ]
            )
        self._say(f"{self._plan.sessions:,} session documents of the old form, under {len(INDEXES)} indexes")
        return {one["_id"]: one async for one in collection.find()}, dict(await collection.index_information())

    async def _store_hours_before(self) -> None:
        await self._start_workers(self._plan.workers, kept=False)
        now = datetime.now(UTC)
        for back in (self._plan.window_s, 0):
            await self._publish(self._segments(range(self._plan.sessions), now - timedelta(seconds=back)))
        await _until(partial(self._rests, kept=False))
        stored = await self._database[MEASUREMENTS].count_documents({})
        self._say(f"{len(self._published):,} segments published, {stored:,} hours stored, no document touched")
        for worker in self._workers:
            await worker.stop()
        self._workers.clear()

    async def _go_on(self) -> None:
        """Half of the sessions go on; workers and the migration are killed meanwhile."""
        await self._start_workers(self._plan.workers, kept=True)
        killing = asyncio.create_task(self._kill_workers())
        migrating = asyncio.create_task(self._migrate())
        earlier = list(self._published)
        late = [
            {**self._rng.choice(earlier), "segment_id": f"late-{n}", "error": "late"}
            for n in range(int(len(earlier) * _LATE_SHARE))
        ]
        repeated = self._rng.sample(earlier, int(len(earlier) * _REPEATED_SHARE))
        half = range(0, self._plan.sessions, 2)
        parts = [self._segments(half, datetime.now(UTC)), late, repeated]
        await self._publish(one for part in parts for one in part)
        await asyncio.gather(killing, migrating)
        self._say(
            f"{len(late):,} late and {len(repeated):,} repeated among {len(self._published) - len(earlier):,} more; "
            f"{self._outcome.kills} workers killed; {len(self._outcome.migrations)} runs of the migration"
        )

    def _segments(self, sessions: Sequence[int], at: datetime) -> list[dict[str, Any]]:
        return [
            {
                "segment_id": f"{at:%H%M%S.%f}-{n}",
                "channel_id": f"channel-{n % 50}",
                "session_id": f"session-{n}",
                "user_id": f"user-{n}",
                "received_at": at,
                "extraction_ms": round(self._rng.uniform(20, 90), 3),
                "dubbing_ms": round(self._rng.uniform(700, 1900), 3),
                "reinsertion_ms": 55.125,
                "original_bytes": 2_000_000 + n,
                "dubbed_bytes": 2_010_000 + n,
                "source_language": "he",
                "target_language": self._rng.choice(["en", "ru", "pt-BR"]),
                "error": "timed out" if self._rng.random() < _ERROR_SHARE else None,
            }
            for n in sessions
            if n % 100  # of one in a hundred nothing ever comes
        ]

    async def _publish(self, segments: Iterable[dict[str, Any]]) -> None:
        for some in _batches(segments):
            await self._publisher.publish_many(some)
            for one in some:
                self._oracle.record(Kind.GOOD, one)
            self._published += some

    async def _start_workers(self, count: int, *, kept: bool) -> None:
        own = {f"{PREFIX}SESSIONS_ENABLED": str(kept).lower()}
        for _ in range(count):
            worker = Worker(len(self._workers) + 1, {**self._variables, **own})
            self._workers.append(worker)
            await worker.start()

    async def _kill_workers(self) -> None:
        """Each time one that runs, in the middle of its work; another takes its place."""
        for _ in range(self._plan.kills):
            await asyncio.sleep(self._rng.uniform(0.5, 1.5) * self._plan.window_s)
            victim = self._rng.choice([one for one in self._workers if one.ended is None])
            os.kill(victim.pid, signal.SIGKILL)
            self._outcome.kills += 1
            await self._start_workers(1, kept=True)

    async def _migrate(self) -> None:
        """`streamproc sessions migrate`: killed once it has come a quarter of the way, then started again."""
        batch = str(min(1000, max(1, self._plan.sessions // 20)))
        arguments = (sys.executable, "-m", "streamproc", "sessions", "migrate", "--batch", batch)
        environment = {**os.environ, **self._variables}
        started_s = time.monotonic()
        start = partial(asyncio.create_subprocess_exec, *arguments, env=environment, stdout=PIPE, stderr=PIPE)
        first = await start()
        enough = self._plan.sessions // 4

        async def is_so_far() -> bool:
            return first.returncode is not None or await self._migrated() >= enough

        await _until(is_so_far)
        if first.returncode is None:
            first.kill()
        out, err = await first.communicate()
        ended = "killed" if first.returncode == -signal.SIGKILL else f"ended by itself ({(out + err).decode().strip()})"
        self._outcome.migrations.append(f"{ended} after {await self._migrated():,} documents")
        second = await start()
        out, err = await second.communicate()
        self._outcome.migration_s = time.monotonic() - started_s
        if second.returncode:
            raise RuntimeError(f"the migration failed: {err.decode()}")
        self._outcome.migrations.append(out.decode().strip())

    async def _migrated(self) -> int:
        checkpoint = await self._database["dubbing_checkpoints"].find_one({})
        return int(checkpoint["progress"]["documents"]) if checkpoint else 0

    async def _rests(self, *, kept: bool) -> bool:
        """Whether everything is stored, and every session that was noted is up to date."""
        seen = await survey(self._shard)
        if seen is None or seen.pending or seen.lag_entries or seen.open or seen.taken:
            return False
        return not (kept and await self._redis.zcard(self._shard.keys.behind))

    async def _judge(self, old: dict[Any, dict[str, Any]], indexes: dict[str, Any]) -> None:
        outcome, collection = self._outcome, self._database[SESSIONS]
        hours = [one async for one in self._database[MEASUREMENTS].find()]
        outcome.segments, outcome.hours = self._oracle.segments, len(hours)
        outcome.wrong_hours = len(await asyncio.to_thread(self._oracle.compare, hours))
        del hours
        wrong = await differences(self._database)
        outcome.wrong_documents = len(wrong)
        for line in wrong[:5]:
            self._say(line)
        left = dict(old)
        async for document in collection.find():
            before = left.pop(document["_id"])
            same = LiveDubbingSession.model_validate(document) == LiveDubbingSession.model_validate(before)
            document.pop("hourly_metrics", None)
            outcome.changed_documents += not (same and document == before)
        outcome.changed_documents += len(left)
        outcome.changed_indexes = int(await collection.index_information() != indexes)


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    left = iter(items)
    while some := list(islice(left, _AT_ONCE)):
        yield some


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds that must come to hold. Raises TimeoutError."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while not await holds():
        if time.monotonic() > give_up_s:
            raise TimeoutError("it does not come to rest")
        await asyncio.sleep(0.05)
