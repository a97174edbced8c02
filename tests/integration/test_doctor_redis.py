"""The doctor and Redis: everything that it warns of is caused on a real server, and seen."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from doctoring import WELL, client, of_redis
from pods import until

from streamproc.app.checkup.diagnosis import Verdict
from streamproc.embedded import EmbeddedServer, start_valkey

GREEN, YELLOW, RED, UNKNOWN = Verdict


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """A Valkey as it should be, for this test alone."""
    with start_valkey(persistent=True, extra_args=WELL) as one:
        yield one


@pytest.fixture
def valkey_client(server: EmbeddedServer) -> Iterator[Any]:
    with client(server.url) as one:
        yield one


def as_user(server: EmbeddedServer, user: str) -> str:
    return server.url.replace("redis://", f"redis://{user}@")


async def test_a_well_configured_server_is_green_throughout(server: EmbeddedServer) -> None:
    (section,) = [one for one in (await of_redis(server.url)).sections if one.subject.startswith("Redis")]
    assert {one.check: one.verdict for one in section.diagnoses} == dict.fromkeys(
        [
            *("answers", "version", "known bugs", "cluster mode", "permissions", "role", "eviction", "memory"),
            *("persistence", "disk", "replicas"),
        ],
        GREEN,
    )


@pytest.mark.parametrize(
    ("setting", "value", "check", "verdict", "remedy"),
    [
        ("maxmemory-policy", "allkeys-lru", "eviction", RED, "CONFIG SET maxmemory-policy noeviction"),
        ("maxmemory", "0", "memory", YELLOW, "Set maxmemory"),
        ("appendfsync", "no", "persistence", YELLOW, "CONFIG SET appendfsync everysec"),
        ("appendonly", "no", "persistence", RED, "CONFIG SET appendonly yes"),
    ],
)
async def test_a_setting_that_endangers_segments_is_named(
    server: EmbeddedServer, valkey_client: Any, setting: str, value: str, check: str, verdict: Verdict, remedy: str
) -> None:
    valkey_client.config_set(setting, value)
    diagnosis = (await of_redis(server.url)).one(check)
    assert diagnosis.verdict == verdict
    assert remedy in diagnosis.remedy


async def test_snapshots_alone_are_better_than_nothing(server: EmbeddedServer, valkey_client: Any) -> None:
    valkey_client.config_set("appendonly", "no")
    valkey_client.config_set("save", "3600 1")
    assert (await of_redis(server.url)).one("persistence").verdict == YELLOW


async def test_memory_that_runs_out_is_red(server: EmbeddedServer, valkey_client: Any) -> None:
    valkey_client.config_set("maxmemory", int(valkey_client.info("memory")["used_memory"] * 1.02))
    diagnosis = (await of_redis(server.url)).one("memory")
    assert diagnosis.verdict == RED


async def test_a_failed_snapshot_is_named_with_what_redis_then_refuses() -> None:
    with start_valkey(extra_args=("--dbfilename", "taken.rdb", "--save", "3600 1000000")) as server:
        (server.directory / "taken.rdb").mkdir()  # what cannot be replaced by a file, even by root
        with client(server.url) as valkey:
            valkey.bgsave()

            async def failed() -> bool:
                return bool(valkey.info("persistence")["rdb_last_bgsave_status"] == "err")

            await until(failed)
            diagnosis = (await of_redis(server.url)).one("disk")
            valkey.config_set("save", "")  # or it does not end without having saved
    assert diagnosis.verdict == RED
    assert diagnosis.found == "failed: the last snapshot"


# User and password


@pytest.mark.parametrize(
    ("user", "words"),
    [("default:wr0ng", "refuses user or password"), ("", "wants a password")],
)
async def test_a_refused_password_is_named_and_never_shown(
    server: EmbeddedServer, valkey_client: Any, user: str, words: str
) -> None:
    valkey_client.config_set("requirepass", "hunter2")
    found = await of_redis(as_user(server, user) if user else server.url)
    diagnosis = found.one("answers", "Redis")
    assert (diagnosis.verdict, words in diagnosis.found) == (RED, True)
    assert "STREAMPROC_REDIS_URL" in diagnosis.remedy
    assert "wr0ng" not in repr(found)


async def test_a_user_without_config_sees_less_and_what_it_sees_is_right(
    server: EmbeddedServer, valkey_client: Any
) -> None:
    valkey_client.acl_setuser("ann", enabled=True, passwords="+pw", keys=["*"], commands=["+@all", "-config"])
    found = await of_redis(as_user(server, "ann:pw"))
    assert found.one("eviction").verdict == GREEN
    assert found.one("permissions").verdict == GREEN
    diagnosis = found.one("persistence")
    assert (diagnosis.verdict, "CONFIG GET" in diagnosis.remedy) == (UNKNOWN, True)


async def test_permissions_that_workers_lack_are_named_with_the_rule_that_gives_them(
    server: EmbeddedServer, valkey_client: Any
) -> None:
    commands = ["+@all", "-xack", "-xgroup|create"]
    valkey_client.acl_setuser("bob", enabled=True, passwords="+pw", keys=["dubbing:*"], commands=commands)
    diagnosis = (await of_redis(as_user(server, "bob:pw"))).one("permissions")
    assert (diagnosis.verdict, diagnosis.found) == (RED, "denied, or not for these keys: XACK, XGROUP CREATE")
    assert "+xack +xgroup|create" in diagnosis.remedy


async def test_a_user_for_other_keys_is_told_so(server: EmbeddedServer, valkey_client: Any) -> None:
    valkey_client.acl_setuser("eve", enabled=True, passwords="+pw", keys=["other:*"], commands=["+@all"])
    diagnosis = (await of_redis(as_user(server, "eve:pw"))).one("permissions")
    assert (diagnosis.verdict, "XREADGROUP" in diagnosis.found) == (RED, True)
    assert "~<STREAMPROC_PREFIX>:*" in diagnosis.remedy


async def test_where_scripts_are_forbidden_permissions_are_unknown_and_the_shard_is_red(
    server: EmbeddedServer, valkey_client: Any
) -> None:
    valkey_client.acl_setuser("joe", enabled=True, passwords="+pw", keys=["*"], commands=["+@all", "-@scripting"])
    found = await of_redis(as_user(server, "joe:pw"))
    assert found.one("permissions").verdict == UNKNOWN
    assert found.one("shard").verdict == RED


async def test_where_info_is_forbidden_the_rest_is_still_looked_at(server: EmbeddedServer, valkey_client: Any) -> None:
    valkey_client.acl_setuser("kim", enabled=True, passwords="+pw", keys=["*"], commands=["+@all", "-info"])
    found = await of_redis(as_user(server, "kim:pw"))
    assert found.one("information").verdict == UNKNOWN
    assert found.one("permissions").found == "denied, or not for these keys: INFO"
    assert found.one("group").verdict == YELLOW


# Versions, clusters, replicas


async def test_known_bugs_of_redis_7_0_are_listed(redis7: EmbeddedServer) -> None:
    found = await of_redis(redis7.url)
    assert found.one("version").found.startswith("redis 7.0.")
    bugs = {one.found.split(":")[0]: one.verdict for one in found.all("known bugs", "Redis")}
    assert bugs["CVE-2025-49844"] == YELLOW
    assert bugs["valkey#4342"] == YELLOW
    assert bugs["redis#13337, redis#13473"] == GREEN


@pytest.mark.parametrize("expected", [True, False])
async def test_a_cluster_is_looked_at_whatever_the_setting_says(expected: bool) -> None:
    with start_valkey(persistent=True, extra_args=(*WELL, "--cluster-enabled", "yes")) as server:
        with client(server.url) as valkey:
            valkey.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)

            async def formed() -> bool:
                return b"cluster_state:ok" in valkey.execute_command("CLUSTER INFO") or (
                    valkey.cluster("INFO").get("cluster_state") == "ok"
                )

            await until(formed)
        found = await of_redis(server.url, redis_cluster=expected)
    diagnosis = found.one("cluster mode")
    assert diagnosis.verdict == (GREEN if expected else RED)
    assert diagnosis.remedy == ("" if expected else "Set STREAMPROC_REDIS_CLUSTER=true")
    assert found.one("eviction").verdict == GREEN
    assert found.one("group").verdict == YELLOW


async def test_a_setting_that_says_cluster_where_there_is_none_is_named(server: EmbeddedServer) -> None:
    found = await of_redis(server.url, redis_cluster=True)
    assert found.one("cluster mode").remedy == "Set STREAMPROC_REDIS_CLUSTER=false"
    assert found.one("group").verdict == YELLOW


async def test_a_replica_must_be_guarded_and_keep_up_and_is_no_primary(
    server: EmbeddedServer, valkey_client: Any
) -> None:
    with start_valkey(extra_args=("--replicaof", f"127.0.0.1 {server.port}")) as replica:

        async def behind_s() -> int:
            one = valkey_client.info("replication").get("slave0", {})
            return int(one["lag"]) if one.get("state") == "online" else -1

        async def in_sync() -> bool:
            return await behind_s() in (0, 1)

        async def behind() -> bool:
            return await behind_s() > 1

        await until(in_sync)
        assert (await of_redis(server.url)).one("replicas").verdict == YELLOW
        valkey_client.config_set("min-replicas-to-write", 1)
        assert (await of_redis(server.url)).one("replicas").verdict == GREEN
        role = (await of_redis(replica.url)).one("role")
        assert (role.verdict, role.found) == (RED, f"a replica of 127.0.0.1:{server.port}")
        os.kill(replica.pid, signal.SIGSTOP)
        try:
            await until(behind)
            assert (await of_redis(server.url, late_quiet_seconds=0.5)).one("replicas").verdict == RED
        finally:
            os.kill(replica.pid, signal.SIGCONT)


async def test_a_server_that_is_away_is_named_with_what_to_do() -> None:
    found = await of_redis("redis://:s3cr3t@127.0.0.1:9/0")
    (diagnosis,) = found.sections[0].diagnoses
    assert (diagnosis.check, diagnosis.verdict) == ("answers", RED)
    assert diagnosis.remedy == "Start Redis, or correct STREAMPROC_REDIS_URL"
    assert "s3cr3t" not in repr(found)
