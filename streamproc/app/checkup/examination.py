"""Looks at everything, one subject after the other; a server that is away keeps none of the others from being seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final

from redis.exceptions import NoPermissionError

from streamproc.app.checkup import clock_checks, mongodb_checks, redis_checks, settings_checks, stream_checks
from streamproc.app.checkup.clock_checks import Reading, check_clocks
from streamproc.app.checkup.diagnosis import Check, Section
from streamproc.app.checkup.mongodb_checks import check_mongodb
from streamproc.app.checkup.mongodb_facts import look_at_mongodb
from streamproc.app.checkup.redis_checks import check_cluster, check_node
from streamproc.app.checkup.redis_facts import look_at_nodes
from streamproc.app.checkup.settings_checks import check_settings
from streamproc.app.checkup.stream_checks import PATIENCE, Expected, check_shard
from streamproc.app.checkup.stream_facts import look_at_shard
from streamproc.app.connections import Connections
from streamproc.app.explain import SERVER_FAILURES, explain
from streamproc.app.settings import Settings
from streamproc.stores.redis.connect import ServerTooOld, connect, describe, require_supported
from streamproc.stores.redis.shard import Shard

Clock = Callable[[], float]

#: Every check by subject, for docs/doctor.md.
SUBJECTS: Final[dict[str, tuple[Check, ...]]] = {
    "Settings": settings_checks.CHECKS,
    "Redis": redis_checks.CHECKS,
    "Shards": stream_checks.CHECKS,
    "MongoDB": mongodb_checks.CHECKS,
    "Clocks": clock_checks.CHECKS,
}
_READINGS: Final = 3


def this_machine_ms() -> float:
    return time.time() * 1000


async def examine(settings: Settings, clock_ms: Clock = this_machine_ms) -> list[Section]:
    """Everything there is to see. Changes nothing on the servers, and fails for none of them.

    Args:
        clock_ms: the time of this machine, which the servers' clocks are compared with.
    """
    (redis, redis_clock), (mongodb, mongodb_clock) = await asyncio.gather(
        RedisExamination(settings, clock_ms).examine(), MongoExamination(settings, clock_ms).examine()
    )
    readings = {**redis_clock, **mongodb_clock}
    sections = [Section("Settings", list(check_settings(settings))), *redis, mongodb]
    if readings:
        tolerance_ms = settings.windowing.future_ms
        sections.append(Section("Clocks", list(check_clocks(readings, tolerance_ms))))
    return sections


class RedisExamination:
    """The examination of Redis: its servers, then each shard."""

    def __init__(self, settings: Settings, clock_ms: Clock = this_machine_ms) -> None:
        self._settings = settings
        self._clock_ms = clock_ms
        self._url = settings.redis_url.get_secret_value()
        self._address = describe(self._url)

    async def examine(self) -> tuple[list[Section], dict[str, Reading]]:
        """What was found, and Redis' clock where it answered."""
        server = Section(f"Redis, {self._address}", [])
        sections, readings = [server], {}
        with _failures(server, redis_checks.REACHED):
            is_cluster = await self._meet(server)
            connections = Connections(self._settings.model_copy(update={"redis_cluster": is_cluster}))
            try:
                sections += await self._nodes(connections, server)
                readings["Redis"] = await _reading(partial(_time_ms, connections.shards[0]), self._clock_ms)
                sections += [await self._shard(shard, connections.shards[0]) for shard in connections.shards]
            finally:
                await connections.close()
        order = [check.name for check in redis_checks.CHECKS]
        server.diagnoses.sort(key=lambda diagnosis: order.index(diagnosis.check))
        return sections, readings

    async def _meet(self, server: Section) -> bool:
        """What can be asked of any node. Returns whether it is part of a cluster."""
        client = connect(self._url)
        try:
            described = await require_supported(client)
            is_cluster = bool((await client.info("cluster")).get("cluster_enabled"))
        except NoPermissionError:  # what may be asked is asked below
            is_cluster = self._settings.redis_cluster
        except ServerTooOld as error:
            server.diagnoses.append(redis_checks.VERSION.trouble("old", str(error)))
            is_cluster = self._settings.redis_cluster
        else:
            server.diagnoses.append(redis_checks.VERSION.ok(described))
            server.diagnoses.append(check_cluster(is_cluster=is_cluster, expected=self._settings.redis_cluster))
        finally:
            await client.aclose()
        return is_cluster

    async def _nodes(self, connections: Connections, server: Section) -> list[Section]:
        keys, group = connections.shards[0].keys, self._settings.group
        nodes = await look_at_nodes(connections.redis, self._address, keys, group)
        sections = []
        for node in nodes:
            section = server if len(nodes) == 1 else Section(f"Redis, {node.address}", [])
            if section is not server:
                sections.append(section)
            tls = {"tls"} if self._url.startswith("rediss") else set()
            late_quiet_s = self._settings.late_quiet_seconds
            section.diagnoses.extend(check_node(node, late_quiet_s=late_quiet_s, circumstances=tls))
        return sections

    async def _shard(self, shard: Shard, first: Shard) -> Section:
        settings = self._settings
        section = Section(f"Shard {shard.number}, {shard.keys.stream}", [])
        policy, windowing = settings.consume_policy, settings.windowing
        expected = Expected(
            shards=settings.shards,
            window_ms=windowing.length_ms,
            grace_ms=windowing.grace_ms,
            claim_idle_ms=policy.claim_idle_ms,
            fingerprint=shard.erasure_key.fingerprint if shard.erasure_key else "",
        )
        with _failures(section, stream_checks.SEEN):
            try:
                facts = await look_at_shard(
                    shard,
                    first,
                    unclaimed_ms=PATIENCE * policy.claim_idle_ms,
                    overdue_ms=PATIENCE * settings.flush_policy.visibility_ms,
                )
                section.diagnoses.extend(check_shard(facts, expected))
            except ValueError as error:  # of the ledger: it names the field and the remedy
                section.diagnoses.append(stream_checks.TYPES.trouble("foreign", str(error)))
        return section


class MongoExamination:
    """The examination of MongoDB."""

    def __init__(self, settings: Settings, clock_ms: Clock = this_machine_ms) -> None:
        self._settings = settings
        self._clock_ms = clock_ms

    async def examine(self) -> tuple[Section, dict[str, Reading]]:
        """What was found, and the server's clock where it answered."""
        connections = Connections(self._settings)
        section, readings = Section(f"MongoDB, {connections.mongodb_address}", []), {}

        async def now_ms() -> float:
            local: datetime = (await connections.mongodb.admin.command("hello"))["localTime"]
            return local.timestamp() * 1000

        try:
            with _failures(section, mongodb_checks.REACHED):
                facts = await look_at_mongodb(connections.database)
                section.diagnoses.extend(check_mongodb(facts, self._settings.mongodb_database))
                readings["MongoDB"] = await _reading(now_ms, self._clock_ms)
        finally:
            await connections.close()
        return section, readings


@contextmanager
def _failures(section: Section, check: Check) -> Iterator[None]:
    """A server that is away, or refuses us, is a diagnosis: the check's trouble ``away``."""
    try:
        yield
    except SERVER_FAILURES as error:
        explanation = explain(error)
        section.diagnoses.append(check.trouble("away", explanation.cause, remedy=explanation.remedy))


async def _time_ms(shard: Shard) -> float:
    """Without a script: where those are forbidden, the rest is to be seen all the same."""
    seconds, microseconds = await shard.client.time()
    return seconds * 1000 + microseconds / 1000


async def _reading(now_ms: Callable[[], Awaitable[Any]], clock_ms: Clock) -> Reading:
    """A server's clock: of a few readings, that with the shortest way."""
    readings = []
    for _ in range(_READINGS):
        sent_ms = clock_ms()
        server_ms = await now_ms()
        readings.append(Reading(sent_ms, server_ms, clock_ms()))
    return min(readings, key=lambda reading: reading.uncertain_ms)
