"""The whole measurement, in order, on servers of its own."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Final

import pymongo
import redis

from streamproc.embedded import start_mongod, start_valkey
from streamproc.stores.mongo.connect import Client, connect

from .. import machine
from . import load, option_a
from .data import HOUR_MS, Scale, segments_of
from .load import Database, Tell
from .option_a import OPTION_A
from .ours import OURS
from .questions import ASKED, Asked, ask
from .redis_side import RedisBench
from .results import Loaded, Machine, Question, Results
from .upkeep import storage, upkeep

#: Scans take long, and a client that is busy itself must not think that the server is away.
_PATIENT: Final = "?socketTimeoutMS=600000&connectTimeoutMS=60000&serverSelectionTimeoutMS=60000"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything. `small_users` is the other scale, which shows whether it grows in proportion."""

    users: int = 40
    small_users: int = 10
    days: int = 30
    segments_an_hour: int = 240
    job_windows: int = 1000
    rounds: int = 100
    cache_gb: float = 4.0

    def scale(self, users: int, until_ms: int) -> Scale:
        return Scale(users, self.days, until_ms, segments_an_hour=self.segments_an_hour)


async def measure(plan: Plan, tell: Tell) -> Results:
    """Raises streamproc.embedded.ServerUnavailable: there is no server to measure."""
    until_ms = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS
    small, large = plan.scale(plan.small_users, until_ms), plan.scale(plan.users, until_ms)
    with start_mongod() as mongod, start_valkey() as valkey:
        async with connect(mongod.url + _PATIENT, app_name="bench-mission") as client:
            cache = f"cache_size={round(plan.cache_gb * 1024)}M"
            await client.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig=cache)
            where = _machine(plan, (await client.server_info())["version"], valkey.url)
            load_averages = [os.getloadavg()[0]]
            tell("one hour in Redis: the review's job, and our flush")
            bench = RedisBench(valkey.url, client["bench_job"], plan.segments_an_hour)
            of_redis = await bench.measure([max(1, plan.job_windows // 4), plan.job_windows])
            load_averages.append(os.getloadavg()[0])
            of_small, _ = await _at(client, small, 0, tell)
            load_averages.append(os.getloadavg()[0])
            of_large, questions = await _at(client, large, plan.rounds, tell)
    return Results(
        measured_on=time.strftime("%Y-%m-%d", time.gmtime()),
        machine=where,
        users_a_channel=large.users_a_channel,
        segments_an_hour=plan.segments_an_hour,
        small=of_small,
        large=of_large,
        questions=questions,
        redis=of_redis,
        load_averages=[*load_averages, os.getloadavg()[0]],
    )


async def _at(client: Client, scale: Scale, rounds: int, tell: Tell) -> tuple[Loaded, list[Question]]:
    """Everything about one scale, in a database that is gone afterwards. No rounds: no questions."""
    database = client["bench_mission"]
    await client.drop_database(database)
    begun_s = time.perf_counter()
    await load.load(database, scale, tell)
    load_s = time.perf_counter() - begun_s
    tell("comparing every window")
    disagreeing = await load.disagreeing_windows(database, scale)
    of_a, of_ours = await storage(database, OPTION_A), await storage(database, OURS)
    questions = [await _asked(database, scale, one, rounds, tell) for one in ASKED if rounds]
    tell("indexes, dump, scan, erasure")
    upkeep_a, upkeep_ours = await upkeep(database, OPTION_A, scale), await upkeep(database, OURS, scale)
    await client.drop_database(database)
    key = scale.keys(scale.since_ms)[0]
    written = option_a.bytes_as_written(option_a.documents(key, segments_of(scale, key))[0])
    loaded = Loaded(
        users=scale.users,
        days=scale.days,
        segments=scale.segments,
        load_s=load_s,
        disagreeing_windows=disagreeing,
        option_a=of_a,
        ours=of_ours,
        option_a_upkeep=upkeep_a,
        ours_upkeep=upkeep_ours,
        written_document_bytes=written,
    )
    return loaded, questions


async def _asked(database: Database, scale: Scale, one: Asked, rounds: int, tell: Tell) -> Question:
    tell(one.name)
    return await ask(database, scale, one, rounds)


def _machine(plan: Plan, mongodb: str, redis_url: str) -> Machine:
    with redis.Redis.from_url(redis_url) as client:
        server = client.info("server")
    name = "Valkey" if "valkey_version" in server else "Redis"
    return Machine(
        described=machine.described(),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        pymongo=pymongo.version,
        mongodb=mongodb,
        mongodb_cache_gb=plan.cache_gb,
        redis=f"{name} {server.get('valkey_version') or server['redis_version']}",
    )
