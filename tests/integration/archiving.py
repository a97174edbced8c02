"""Days of measurements on a real MongoDB, a real Redis that has read all there was, and an archive of them."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import redis as redis_client

from streamproc.app.archiving import Archiving, make_archive_erasure, make_archiving
from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.core.day_rows import day_at, day_start_ms
from streamproc.core.details import Detail
from streamproc.core.fold import fold
from streamproc.core.windows import WindowKey
from streamproc.roles.archive_inspector import Day
from streamproc.stores.archive.days import Archive
from streamproc.stores.archive.erasure import ArchiveErasure
from streamproc.stores.archive.objects import open_objects
from streamproc.stores.mongo.collection import COLLECTION, ensure_collection
from streamproc.stores.redis.entries import EntryStream

HOUR_MS = 3_600_000
KEY = "a key of the tests, long enough"
Document = dict[str, Any]


def days_ago(number: int) -> date:
    """A day, UTC. The third before today is final by all clocks."""
    return day_at(int(time.time() * 1000)) - timedelta(days=number)


#: Final, and long kept.
DAY = days_ago(5)


def key(
    user: str = "dana", *, day: date = DAY, hour: int = 10, channel: str = "kan-11", session: str | None = None
) -> WindowKey:
    return WindowKey(day_start_ms(day) + hour * HOUR_MS, channel, session or f"s-{user}-{day}", user)


def measurement(
    window: WindowKey, *, segments: int = 3, write: int = 1, seed: int = 0, platform: str = "web"
) -> Document:
    """The document of a window with that many segments, each with times of its own."""
    rng = random.Random(f"{seed} {window}")
    held = {f"seg-{number}": _detail(rng, window, number, segments, platform) for number in range(segments)}
    return fold(window, held).document(write)


def _detail(rng: random.Random, window: WindowKey, number: int, segments: int, platform: str) -> Detail:
    dubbing = round(rng.lognormvariate(0, 0.25) * 1_100_000)
    return Detail(
        received_at_us=(window.start_ms + number * HOUR_MS // segments) * 1000,
        extraction_us=45_200,
        dubbing_us=dubbing,
        reinsertion_us=55_000,
        total_us=100_200 + dubbing,
        original_bytes=rng.randrange(2_000_000),
        dubbed_bytes=rng.randrange(2_000_000),
        source_language="he",
        target_language=rng.choice(("en", "ru")),
        platform=platform,
        error="timed out" if rng.random() < 0.05 else "",
        retry_count=int(rng.random() < 0.1),
    )


class Stage:
    """Servers, and an archive."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.settings = connections.settings
        self.database = connections.database
        self.redis: Any = redis_client.Redis.from_url(self.settings.redis_url.get_secret_value())
        made = make_archiving(connections)
        assert made is not None
        self.made: Archiving = made

    @property
    def archive(self) -> Archive:
        """As another process finds it."""
        return Archive(open_objects(self.settings.archive_url))

    @property
    def erasure(self) -> ArchiveErasure:
        made = make_archive_erasure(self.connections)
        assert made is not None
        return made

    async def store(self, *documents: Document) -> None:
        await self.database[COLLECTION].insert_many(list(documents))

    async def run(self, day: date = DAY, archiving: Archiving | None = None) -> Day:
        """Archive a day, as `archive run --day` does."""
        _, inspector, archiver = archiving or self.made
        return await archiver.run_day(day, await inspector.now_ms(), await inspector.look())

    async def run_all(self) -> list[Day]:
        """As `archive run` does."""
        inspector = self.made.inspector
        look, now_ms = await inspector.look(), await inspector.now_ms()
        return [await self.made.archiver.run_day(day, now_ms, look) for day in await inspector.candidates(now_ms)]

    async def wrong(self) -> dict[date, list[str]]:
        """What `archive verify` finds."""
        inspector = self.made.inspector
        look, now_ms = await inspector.look(), await inspector.now_ms()
        found = {day: await inspector.verify(kept, now_ms, look) for day, kept in self.archive.manifests().items()}
        return {day: words for day, words in found.items() if words}

    def users(self, day: date = DAY) -> list[str]:
        """Whose rows are archived."""
        archive = self.archive
        return sorted({row.key.user_id for row in archive.rows(archive.manifest(day))})

    def history(self, day: date = DAY) -> list[str]:
        return [change.reason for change in self.archive.manifest(day).manifest.history]

    def forget_nothing_pending(self) -> None:
        self.redis.flushall()


@asynccontextmanager
async def stage(redis_url: str, mongodb_url: str, database_name: str, archive_url: str) -> AsyncIterator[Stage]:
    settings = Settings.load(
        redis_url=redis_url,
        mongodb_url=mongodb_url,
        mongodb_database=database_name,
        archive_url=archive_url,
        erasure_key=KEY,
    )
    connections = Connections(settings)
    on_stage = Stage(connections)
    try:
        on_stage.redis.flushall()
        await EntryStream(connections.shards[0], connections.redis, "nobody").ensure_group()
        await ensure_collection(connections.database)
        yield on_stage
    finally:
        on_stage.redis.close()
        await connections.close()


def folder_url(path: Path) -> str:
    path.mkdir(exist_ok=True)
    return f"file://{path}"


def bytes_in(path: Path) -> Sequence[bytes]:
    """Every file of a folder."""
    return [file.read_bytes() for file in path.rglob("*") if file.is_file()]
