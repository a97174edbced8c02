"""A Redis or Valkey of a test's own, and what the doctor finds with it."""

from __future__ import annotations

from typing import Any, NamedTuple

import redis

from streamproc.app.checkup.diagnosis import Diagnosis, Section, Verdict
from streamproc.app.checkup.examination import Clock, MongoExamination, RedisExamination, examine, this_machine_ms
from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.stores.redis.keys import ShardKeys

KEY = "a key for nobody but the tests"
#: Redis or Valkey as it should be, beside what `persistent` makes of it.
WELL = ("--maxmemory", "200mb")
#: Where no Redis is looked for.
NOBODY = "redis://127.0.0.1:9/0"


class Report(NamedTuple):
    """What the doctor found."""

    sections: list[Section]

    def all(self, name: str, subject: str = "") -> list[Diagnosis]:
        return [
            diagnosis
            for section in self.sections
            if section.subject.startswith(subject)
            for diagnosis in section.diagnoses
            if diagnosis.check == name
        ]

    def one(self, name: str, subject: str = "") -> Diagnosis:
        (diagnosis,) = self.all(name, subject)
        return diagnosis

    def not_green(self) -> dict[str, Diagnosis]:
        return {
            f"{section.subject.split(',')[0]}: {diagnosis.check}": diagnosis
            for section in self.sections
            for diagnosis in section.diagnoses
            if diagnosis.verdict is not Verdict.GREEN
        }


def settings_of(redis_url: str, mongodb_url: str = "mongodb://127.0.0.1:9", **more: Any) -> Settings:
    return Settings.load(**{"redis_url": redis_url, "mongodb_url": mongodb_url, "erasure_key": KEY, **more})


async def report(settings: Settings, clock_ms: Clock = this_machine_ms) -> Report:
    return Report(await examine(settings, clock_ms))


async def of_redis(redis_url: str, **more: Any) -> Report:
    """What is found in Redis alone."""
    sections, _ = await RedisExamination(settings_of(redis_url, **more)).examine()
    return Report(sections)


async def of_mongodb(mongodb_url: str, database: str) -> Report:
    """What is found in MongoDB alone."""
    section, _ = await MongoExamination(settings_of(NOBODY, mongodb_url, mongodb_database=database)).examine()
    return Report([section])


async def agree(settings: Settings) -> None:
    """Make stream, group and layout, as `streamproc init` does."""
    from streamproc.app.pod import Pod  # noqa: PLC0415 - imports Faust's neighbours, which few tests need

    pod = Pod(settings)
    try:
        await pod.prepare_redis()
    finally:
        await pod.close()


async def prepare(settings: Settings) -> None:
    """As `agree`, and the collection."""
    from streamproc.stores.mongo.collection import ensure_collection  # noqa: PLC0415

    await agree(settings)
    connections = Connections(settings)
    try:
        await ensure_collection(connections.database)
    finally:
        await connections.close()


def client(url: str) -> Any:
    return redis.Redis.from_url(url)


KEYS = ShardKeys("dubbing", 0)
