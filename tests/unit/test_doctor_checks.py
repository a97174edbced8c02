"""How facts are judged, where a server that tells them cannot easily be had: limits, disks, replicas, clocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest

from streamproc.app.checkup.clock_checks import Reading, check_clocks
from streamproc.app.checkup.diagnosis import Check, Diagnosis, Verdict
from streamproc.app.checkup.examination import SUBJECTS
from streamproc.app.checkup.mongodb_checks import check_mongodb
from streamproc.app.checkup.mongodb_facts import QUERIES, MongoFacts, stages
from streamproc.app.checkup.redis_checks import check_node
from streamproc.app.checkup.redis_facts import NodeFacts, commands_of_workers, words
from streamproc.app.checkup.settings_checks import check_settings
from streamproc.app.checkup.stream_checks import Expected, check_shard
from streamproc.app.checkup.stream_facts import ConsumerState, ShardFacts
from streamproc.app.settings import Settings
from streamproc.core.ledger import LedgerTerms
from streamproc.stores.redis import scripts
from streamproc.stores.redis.keys import ShardKeys
from streamproc.stores.redis.survey import Survey

GREEN, YELLOW, RED, UNKNOWN = Verdict
GIB = 1024**3

INFO: dict[str, Any] = {
    "redis_version": "7.2.4",
    "valkey_version": "9.1.2",
    "role": "master",
    "loading": 0,
    "maxmemory_policy": "noeviction",
    "used_memory": GIB,
    "maxmemory": 4 * GIB,
    "total_system_memory": 8 * GIB,
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "connected_slaves": 0,
}
CONFIG = {
    "appendfsync": "everysec",
    "save": "3600 1",
    "stop-writes-on-bgsave-error": "yes",
    "min-replicas-to-write": "1",
}
NODE = NodeFacts("redis://h:6379/0", INFO, CONFIG, (), 0.3)


def replica(**state: Any) -> dict[str, Any]:
    return {"ip": "10.0.0.6", "port": 6379, "state": "online", "offset": 7, "lag": 1, **state}


def only(diagnoses: Iterable[Diagnosis], name: str) -> Diagnosis:
    (diagnosis,) = [one for one in diagnoses if one.check == name]
    return diagnosis


def node(info: dict[str, Any], name: str, **config: str | None) -> Diagnosis:
    kept = {key: value for key, value in {**CONFIG, **config}.items() if value is not None}
    facts = dataclasses.replace(NODE, info={**INFO, **info}, config=kept)
    return only(check_node(facts, late_quiet_s=30), name)


def test_a_server_as_it_should_be_is_green_throughout() -> None:
    diagnoses = list(check_node(NODE, late_quiet_s=30))
    assert {one.verdict for one in diagnoses} == {GREEN}
    assert {one.remedy for one in diagnoses} == {""}


@pytest.mark.parametrize(
    ("info", "verdict", "found"),
    [
        ({"used_memory": 3 * GIB}, GREEN, "3.0 GiB used of 4.0 GiB (maxmemory): 75.0%"),
        ({"used_memory": 3.1 * GIB}, YELLOW, "77.5%"),
        ({"used_memory": 3.7 * GIB}, RED, "92.5%"),
        ({"maxmemory": 0}, YELLOW, "of the machine's 8.0 GiB, and no maxmemory: 12.5%"),
        ({"maxmemory": 0, "used_memory": 7.5 * GIB}, RED, "93.8%"),
        ({"maxmemory": 0, "total_system_memory": 0}, RED, "100.0%"),
    ],
)
def test_memory_is_measured_against_its_limit_else_the_machine(
    info: dict[str, Any], verdict: Verdict, found: str
) -> None:
    diagnosis = node(info, "memory")
    assert diagnosis.verdict == verdict
    assert found in diagnosis.found


@pytest.mark.parametrize(
    ("failed", "config", "verdict"),
    [
        ({"aof_last_write_status": "err"}, {}, RED),
        ({"rdb_last_bgsave_status": "err"}, {}, RED),
        ({"rdb_last_bgsave_status": "err"}, {"stop-writes-on-bgsave-error": "no"}, YELLOW),
        ({"rdb_last_bgsave_status": "err"}, {"save": ""}, YELLOW),
        ({"aof_last_bgrewrite_status": "err"}, {}, YELLOW),
    ],
)
def test_a_failed_write_to_disk_is_red_where_redis_then_refuses_writes(
    failed: dict[str, Any], config: dict[str, str], verdict: Verdict
) -> None:
    diagnosis = node(failed, "disk", **config)
    assert diagnosis.verdict == verdict
    assert "is it full" in diagnosis.remedy


@pytest.mark.parametrize(
    ("one", "wanted", "verdict"),
    [
        (replica(), "1", GREEN),
        (replica(lag=30), "1", GREEN),
        (replica(lag=31), "1", RED),
        (replica(state="wait_bgsave"), "1", RED),
        (replica(), "0", YELLOW),
        (replica(), None, UNKNOWN),
    ],
)
def test_replicas_must_keep_up_and_be_waited_for(one: dict[str, Any], wanted: str | None, verdict: Verdict) -> None:
    diagnosis = node({"connected_slaves": 1, "slave0": one}, "replicas", **{"min-replicas-to-write": wanted})
    assert diagnosis.verdict == verdict
    assert "10.0.0.6:6379" in diagnosis.found


def test_a_server_that_is_loading_is_to_be_waited_for() -> None:
    assert node({"loading": 1}, "role").verdict == RED


def test_a_slow_answer_is_noticed() -> None:
    diagnoses = check_node(dataclasses.replace(NODE, answer_ms=250.0), late_quiet_s=30)
    assert only(diagnoses, "answers").verdict == YELLOW


def test_the_permissions_asked_about_are_all_that_scripts_use() -> None:
    asked = {"".join(words(command)) for command in commands_of_workers(ShardKeys("dubbing", 0), "streamproc")}
    used = set()
    for script in scripts.ALL:
        for piece in scripts.source(script.name).split("redis.call(")[1:]:
            first, second, *_ = [*piece.partition(")")[0].split(","), ""]
            name = first.strip(" '")
            used.add(name + second.strip(" '") if name in ("XINFO", "XGROUP") else name)
    assert len(used) > 30
    assert used <= asked


# MongoDB

MONGODB = MongoFacts(
    version=(8, 2, 9),
    hello={"isWritablePrimary": True, "setName": "rs0", "hosts": ["a:27017", "b:27017", "c:27017"]},
    answer_ms=0.5,
    privileges=None,
    listed=True,
    collection={
        "type": "timeseries",
        "options": {
            "expireAfterSeconds": 7_776_000,
            "timeseries": {"timeField": "timestamp", "metaField": "metadata", "granularity": "minutes"},
        },
    },
    indexes=[{f"metadata.{name}": 1, "timestamp": -1} for name in ("channel_id", "user_id", "session_id")],
    plans=dict.fromkeys(QUERIES, ("FETCH", "IXSCAN")),
    strays=0,
    disk=(100 * GIB, 80 * GIB),
)
EVERYTHING = ["find", "insert", "remove", "createCollection", "createIndex", "listCollections", "listIndexes"]


def mongodb(name: str, **facts: Any) -> Diagnosis:
    return only(check_mongodb(dataclasses.replace(MONGODB, **facts), "dubbing"), name)


def test_a_mongodb_as_it_should_be_is_green_but_for_its_known_bugs() -> None:
    diagnoses = [one for one in check_mongodb(MONGODB, "dubbing") if one.check != "known bugs"]
    assert {one.verdict for one in diagnoses} == {GREEN}


def test_a_mongodb_that_is_too_old_is_red() -> None:
    diagnosis = mongodb("version", version=(5, 0, 4))
    assert (diagnosis.verdict, "5.0.5 or newer" in diagnosis.found) == (RED, True)


@pytest.mark.parametrize(
    ("hello", "verdict"),
    [
        ({"isWritablePrimary": True}, YELLOW),
        ({"isWritablePrimary": False, "setName": "rs0"}, RED),
        ({"isWritablePrimary": True, "msg": "isdbgrid"}, GREEN),
    ],
)
def test_a_majority_needs_a_replica_set_and_writes_a_primary(hello: dict[str, Any], verdict: Verdict) -> None:
    assert mongodb("deployment", hello=hello).verdict == verdict


@pytest.mark.parametrize(
    ("disk", "verdict"),
    [((100, 80), GREEN), ((100, 81), YELLOW), ((100, 91), RED), (None, UNKNOWN)],
)
def test_a_disk_that_fills_is_told_before_it_is_full(disk: tuple[int, int] | None, verdict: Verdict) -> None:
    assert mongodb("disk", disk=disk).verdict == verdict


@pytest.mark.parametrize(
    ("resource", "verdict"),
    [
        ({"db": "dubbing", "collection": ""}, GREEN),
        ({"db": "", "collection": ""}, GREEN),
        ({"anyResource": True}, GREEN),
        ({"db": "dubbing", "collection": "dubbing_metrics_ts"}, GREEN),
        ({"db": "elsewhere", "collection": ""}, RED),
        ({"db": "dubbing", "collection": "other"}, RED),
    ],
)
def test_permissions_must_cover_the_database(resource: dict[str, Any], verdict: Verdict) -> None:
    diagnosis = mongodb("permissions", privileges=[{"resource": resource, "actions": EVERYTHING}])
    assert diagnosis.verdict == verdict


def test_a_permission_that_is_missing_is_named_with_the_command_that_grants_it() -> None:
    everywhere = {"db": "dubbing", "collection": ""}
    diagnosis = mongodb("permissions", privileges=[{"resource": everywhere, "actions": ["find", "insert"]}])
    assert diagnosis.found == "not permitted: remove, createCollection, createIndex, listCollections, listIndexes"
    assert '[{role: "readWrite", db: "dubbing"}]' in diagnosis.remedy


@pytest.mark.parametrize(
    "facts",
    [
        {"listed": False, "collection": None},
        {"indexes": None},
        {"plans": dict.fromkeys(QUERIES, ())},
        {"strays": None},
    ],
)
def test_what_the_user_may_not_see_is_unknown_and_not_green(facts: dict[str, Any]) -> None:
    diagnoses = list(check_mongodb(dataclasses.replace(MONGODB, **facts), "dubbing"))
    (diagnosis,) = [one for one in diagnoses if one.verdict is UNKNOWN]
    assert diagnosis.remedy


def test_stages_are_found_however_deep_and_rejected_plans_do_not_count() -> None:
    shard = {
        "queryPlanner": {
            "winningPlan": {"stage": "FETCH", "inputStage": {"stage": "IXSCAN"}},
            "rejectedPlans": [{"stage": "COLLSCAN"}],
        }
    }
    assert stages({"stages": [{"$cursor": shard}, {"$_internalUnpackBucket": {}}]}) == ["FETCH", "IXSCAN"]
    assert stages({"shards": {"a": shard}}) == ["FETCH", "IXSCAN"]


# Shards

NOW_MS = 1_800_000_000_000
EXPECTED = Expected(shards=1, window_ms=3_600_000, grace_ms=120_000, claim_idle_ms=60_000, fingerprint="f00d")
LAYOUT = {"shards": "1", "window_ms": "3600000", "format_version": "1", "erasure_key": "f00d"}
TERMS = LedgerTerms(
    entries_added=10,
    epoch_base=0,
    counted=10,
    duplicates=0,
    dead_lettered=0,
    erased=0,
    forwarded=0,
    lost=0,
    pending=0,
    undelivered=0,
)
SURVEY = Survey(
    now_ms=NOW_MS,
    watermark_ms=NOW_MS,
    pending=0,
    oldest_pending_ms=None,
    first_undelivered_ms=None,
    undelivered=0,
    length=10,
    open=1,
    due=0,
    first_due_ms=None,
    taken=0,
    closed=3,
    dead=0,
    consumers=1,
    epoch=1,
    mark_ms=None,
    ledger=TERMS,
)
SHARD = ShardFacts((), LAYOUT, True, SURVEY, [ConsumerState("pod-1", 0, 200)], (), 0, 0, NOW_MS + 1000)


def shard(name: str, seen: dict[str, Any] | None = None, **facts: Any) -> Diagnosis:
    changed = dataclasses.replace(SHARD, survey=dataclasses.replace(SURVEY, **(seen or {})))
    return only(check_shard(dataclasses.replace(changed, **facts), EXPECTED), name)


def test_a_shard_that_is_worked_on_is_green_throughout() -> None:
    assert {one.verdict for one in check_shard(SHARD, EXPECTED)} == {GREEN}


@pytest.mark.parametrize(
    ("behind_ms", "verdict"), [(300_000, GREEN), (300_001, YELLOW), (3_600_000, YELLOW), (3_600_001, RED)]
)
def test_watermark_may_be_behind_by_grace_and_claims_and_never_by_a_window(behind_ms: int, verdict: Verdict) -> None:
    assert shard("watermark", {"watermark_ms": NOW_MS - behind_ms}).verdict == verdict


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [("", "", YELLOW), ("a", "a", GREEN), ("a", "", YELLOW), ("", "a", RED), ("a", "b", RED)],
)
def test_erasure_key_must_be_that_of_the_workers(ours: str, theirs: str, verdict: Verdict) -> None:
    facts = dataclasses.replace(SHARD, layout={**LAYOUT, "erasure_key": theirs})
    assert only(check_shard(facts, EXPECTED._replace(fingerprint=ours)), "erasure key").verdict == verdict


@pytest.mark.parametrize(
    ("heard", "idle_ms", "waiting", "verdict"),
    [
        ((), 29_999, 0, GREEN),
        ((), 30_000, 0, YELLOW),
        ((), 30_000, 1, RED),
        (["pod-2"], 30_000, 1, GREEN),
    ],
)
def test_a_worker_is_who_asked_or_told_lately(heard: list[str], idle_ms: int, waiting: int, verdict: Verdict) -> None:
    consumers = [ConsumerState("pod-1", 0, idle_ms)]
    assert shard("workers", {"undelivered": waiting}, heard=heard, consumers=consumers).verdict == verdict


def test_a_consumer_that_is_gone_and_has_entries_pending_is_noticed() -> None:
    diagnosis = shard("pending", {"pending": 2}, consumers=[ConsumerState("pod-1", 2, 61_000)])
    assert (diagnosis.verdict, diagnosis.found) == (YELLOW, "2 entries of pod-1")


def test_a_ledger_that_was_not_counted_is_unknown() -> None:
    terms = dataclasses.replace(TERMS, undelivered=None)
    assert shard("ledger", {"undelivered": None, "ledger": terms}).verdict == UNKNOWN


def test_data_of_another_format_needs_another_streamproc() -> None:
    diagnosis = shard("layout", layout={**LAYOUT, "format_version": "2"})
    assert (diagnosis.verdict, diagnosis.found) == (RED, "format 2 there, 1 here")


# Clocks: the way there and back makes any reading uncertain by half of it.


@pytest.mark.parametrize(
    ("ahead_ms", "way_ms", "verdict"),
    [
        (0, 1, GREEN),
        (1000, 1, GREEN),
        (1002, 2, YELLOW),
        (-1002, 2, YELLOW),
        (300_000, 2, YELLOW),
        (300_002, 2, RED),
        (-300_002, 2, RED),
        (5000, 9000, GREEN),  # cannot be told from the way
    ],
)
def test_skew_counts_beyond_what_the_way_may_explain(ahead_ms: float, way_ms: float, verdict: Verdict) -> None:
    reading = Reading(1000.0, 1000.0 + way_ms / 2 + ahead_ms, 1000.0 + way_ms)
    (diagnosis,) = check_clocks({"Redis": reading}, 300_000)
    assert diagnosis.verdict == verdict


def test_servers_are_compared_with_each_other_too() -> None:
    redis, mongodb = Reading(0, 800, 0), Reading(0, -800, 0)
    found = {one.found.split(",")[0]: one.verdict for one in check_clocks({"Redis": redis, "MongoDB": mongodb}, 9000)}
    assert found == {
        "Redis is 800.0 ms ahead of this machine": GREEN,
        "MongoDB is 800.0 ms behind this machine": GREEN,
        "MongoDB is 1.6 s behind Redis": YELLOW,
    }


# Settings


@pytest.mark.parametrize(
    ("settings", "name", "verdict"),
    [
        ({}, "retention", GREEN),
        ({"stream_retention_seconds": 59}, "retention", YELLOW),
        ({}, "horizon", GREEN),
        ({"late_horizon_seconds": 90 * 86_400}, "horizon", RED),
        ({}, "claim time", GREEN),
        ({"claim_idle_seconds": 1.9, "commit_interval_seconds": 0.5}, "claim time", YELLOW),
    ],
)
def test_settings_that_hinder_each_other_are_named(settings: dict[str, Any], name: str, verdict: Verdict) -> None:
    diagnosis = only(check_settings(Settings.load(**settings)), name)
    assert diagnosis.verdict == verdict


# All checks


def test_check_names_are_unique_within_a_subject() -> None:
    for checks in SUBJECTS.values():
        names = [check.name for check in checks]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("check", [one for checks in SUBJECTS.values() for one in checks], ids=lambda check: check.name)
def test_every_trouble_says_when_and_what_to_do(check: Check) -> None:
    assert check.troubles
    for trouble in check.troubles.values():
        assert trouble.when
        assert trouble.remedy
        assert trouble.verdict is not GREEN
