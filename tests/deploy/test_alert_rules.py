"""Every alert fires when it should, alone, and stays silent in the near miss: promtool evaluates the rules over hours.

Each case is a healthy system of two pods, and what is different about it. No other alert may fire at any time. All
cases are evaluated at once, as systems that one Prometheus watches: a job for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from promtool import GONE, LEFT_OUT, MINUTES, RULES, WHY_LEFT_OUT, fired, labelled, promtool, rises, rules, stays

pytestmark = pytest.mark.skipif(LEFT_OUT, reason=WHY_LEFT_OUT)

GIB: Final = 1024**3
CHANNELS: Final = ("kan-11", "news")
#: What both pods show of a healthy system with 100 segments a minute and pod, on two channels: the first value of each
#: metric, and by how much it grows in a minute.
HEALTHY: Final = {
    'streamproc_events_total{outcome="counted"}': (0, 100),
    'streamproc_dead_letters_total{reason="malformed"}': (0, 0),
    'streamproc_dead_letters_total{reason="poison"}': (0, 0),
    'streamproc_lag_seconds{shard="0"}': (0, 0),
    'streamproc_lag_known{shard="0"}': (1, 0),
    'streamproc_oldest_pending_seconds{shard="0"}': (0, 0),
    'streamproc_overdue_seconds{shard="0"}': (0, 0),
    'streamproc_ledger_entries{shard="0",term="entries_added"}': (5000, 200),
    'streamproc_ledger_entries{shard="0",term="lost"}': (0, 0),
    'streamproc_ledger_imbalance{shard="0"}': (0, 0),
    "streamproc_windows_shrunk_total": (0, 0),
    "streamproc_windows_diverged_total": (0, 0),
    "streamproc_documents_refused_total": (0, 0),
    "streamproc_flush_failures_total": (0, 0),
    "streamproc_erasures_unfinished": (0, 0),
    "streamproc_archive_overdue_days": (0, 0),
    'streamproc_redis_memory_used_bytes{shard="0"}': (GIB, 0),
    'streamproc_redis_memory_limit_bytes{shard="0"}': (4 * GIB, 0),
    'streamproc_replicas{shard="0"}': (1, 0),
    'streamproc_replica_lag_seconds{shard="0"}': (0, 0),
    'streamproc_setting_seconds{setting="claim_idle"}': (60, 0),
    'streamproc_setting_seconds{setting="late_quiet"}': (30, 0),
    "streamproc_ready": (1, 0),
    'streamproc_dependency_up{dependency="redis"}': (1, 0),
    'streamproc_dependency_up{dependency="mongodb"}': (1, 0),
    **{f'streamproc_channel_segments_total{{channel="{one}"}}': (0, 50) for one in CHANNELS},
    **{f'streamproc_channel_errors_total{{channel="{one}"}}': (0, 1) for one in CHANNELS},
    **{f'streamproc_channel_latency_seconds_count{{channel="{one}"}}': (0, 50) for one in CHANNELS},
    **{f'streamproc_channel_latency_seconds_sum{{channel="{one}"}}': (0, 60) for one in CHANNELS},
}
REDIS_UP: Final = 'streamproc_dependency_up{dependency="redis"}'
SHARD: Final = {"shard": "0"}

#: What is different: of both pods, or of each.
Changes = Mapping[str, str | Mapping[str, str]]


def healthy(metric: str) -> str:
    start, per_minute = HEALTHY[metric]
    return rises((per_minute, MINUTES), start=start)


def system(job: str, changes: Changes) -> dict[str, str]:
    """The series of two pods."""
    unknown = changes.keys() - HEALTHY.keys()
    assert not unknown, f"a healthy system has no {unknown}"
    series = {}
    for pod in ("a", "b"):
        for metric, values in {**{name: healthy(name) for name in HEALTHY}, **changes}.items():
            own = values if isinstance(values, str) else values.get(pod, healthy(metric))
            series[labelled(metric, job=job, instance=f"{pod}:8080")] = own
    return series


def alert(name: str, severity: str, **labels: str) -> dict[str, str]:
    return {"alertname": name, "severity": severity, **labels}


def all_of(*spells: tuple[float | None, int]) -> dict[str, str]:
    """Every metric of a pod that is there (1) or GONE in each spell."""
    found = {}
    for metric, (start, per_minute) in HEALTHY.items():
        if "_total" in metric or metric.startswith("streamproc_channel"):  # the pod's own: from 0 with another pod
            found[metric] = rises(*((per_minute if here else GONE, minutes) for here, minutes in spells))
        else:
            found[metric] = stays(*((start if here else GONE, minutes) for here, minutes in spells))
    return found


def of_pods(**spells: tuple[tuple[float | None, int], ...]) -> dict[str, dict[str, str]]:
    """Changes under which each of these pods is there or GONE."""
    by_pod = {pod: all_of(*own) for pod, own in spells.items()}
    return {metric: {pod: own[metric] for pod, own in by_pod.items()} for metric in HEALTHY}


FIRES: Final[dict[str, tuple[Changes, list[dict[str, str]]]]] = {
    "a twentieth and more of all segments have an error": (
        {f'streamproc_channel_errors_total{{channel="{one}"}}': rises((1, 60), (4, 30), (1, 1)) for one in CHANNELS},
        [alert("StreamprocErrorsHigh", "page")],
    ),
    "one channel of two has errors, and all together do not": (
        {'streamproc_channel_errors_total{channel="news"}': rises((0, 60), (3.5, 60), (0, 1))},
        [alert("StreamprocChannelErrorsHigh", "ticket", channel="news")],
    ),
    "a segment takes more than two seconds on average": (
        {
            f'streamproc_channel_latency_seconds_sum{{channel="{one}"}}': rises((60, 60), (110, 30), (60, 1))
            for one in CHANNELS
        },
        [alert("StreamprocLatencyHigh", "page")],
    ),
    "one channel is slow, and all together are not": (
        {'streamproc_channel_latency_seconds_sum{channel="news"}': rises((60, 60), (125, 60), (60, 1))},
        [alert("StreamprocChannelLatencyHigh", "ticket", channel="news")],
    ),
    "all pods are gone": (
        of_pods(a=((1, 60), (GONE, 1)), b=((1, 60), (GONE, 1))),
        [alert("StreamprocNoWorkers", "page")],
    ),
    "a pod is not ready": (
        {"streamproc_ready": {"b": stays((1, 30), (0, 20), (1, 1))}},
        [alert("StreamprocWorkerNotReady", "ticket", instance="b:8080")],
    ),
    "the lag grows": (
        {'streamproc_lag_seconds{shard="0"}': rises((0, 30), (60, 20), (0, 1))},
        [alert("StreamprocLagGrowing", "page", **SHARD)],
    ),
    "the lag stays as long as it is": (
        {'streamproc_lag_seconds{shard="0"}': stays((400, 1))},
        [alert("StreamprocLagGrowing", "page", **SHARD)],
    ),
    "the lag is never counted for half an hour": (
        {'streamproc_lag_known{shard="0"}': stays((1, 30), (0, 40), (1, 1))},
        [alert("StreamprocLagUnknown", "ticket", **SHARD)],
    ),
    "an entry is pending for ever": (
        {'streamproc_oldest_pending_seconds{shard="0"}': rises((0, 30), (60, 20), (-60, 20), (0, 1))},
        [alert("StreamprocWatermarkStuck", "page", **SHARD)],
    ),
    "events of one kind are refused again and again": (
        {'streamproc_dead_letters_total{reason="malformed"}': {"a": rises((0, 30), (0.5, 60), (0, 1))}},
        [alert("StreamprocDeadLetters", "ticket", reason="malformed")],
    ),
    "a single event is poison": (
        {'streamproc_dead_letters_total{reason="poison"}': {"a": stays((0, 30), (1, 1))}},
        [alert("StreamprocDeadLetters", "ticket", reason="poison")],
    ),
    "a closed window waits to be stored": (
        {'streamproc_overdue_seconds{shard="0"}': rises((0, 30), (60, 40), (-60, 40), (0, 1))},
        [alert("StreamprocFlushDelayed", "page", **SHARD)],
    ),
    "flushes fail again and again": (
        {"streamproc_flush_failures_total": {"a": rises((0, 30), (1, 30), (0, 1))}},
        [alert("StreamprocFlushFailing", "ticket")],
    ),
    "a measurement is refused again and again": (
        {"streamproc_documents_refused_total": {"b": rises((0, 30), (1, 30), (0, 1))}},
        [alert("StreamprocDocumentsRefused", "ticket")],
    ),
    "an erasure is not completed": (
        {"streamproc_erasures_unfinished": {"a": stays((0, 30), (1, 70), (0, 1))}},
        [alert("StreamprocErasuresUnfinished", "ticket")],
    ),
    "a day is not archived": (
        {"streamproc_archive_overdue_days": stays((0, 30), (1, 70), (0, 1))},
        [alert("StreamprocArchiveOverdue", "ticket")],
    ),
    "a pending entry is deleted": (
        {'streamproc_ledger_entries{shard="0",term="lost"}': stays((0, 30), (1, 1))},
        [alert("StreamprocEntriesLost", "page", **SHARD)],
    ),
    "an entry is trimmed before it is read": (
        {'streamproc_ledger_imbalance{shard="0"}': stays((0, 30), (1, 1))},
        [alert("StreamprocLedgerOutOfBalance", "page", **SHARD)],
    ),
    "Redis forgets an entry that was counted": (
        {'streamproc_ledger_imbalance{shard="0"}': stays((0, 30), (-1, 1))},
        [alert("StreamprocLedgerOutOfBalance", "ticket", **SHARD)],
    ),
    "Redis is emptied": (
        {'streamproc_ledger_entries{shard="0",term="entries_added"}': rises((200, 60), (GONE, 0), (20, 1), start=5000)},
        [alert("StreamprocRedisForgot", "page", **SHARD)],
    ),
    "a window has shrunk": (
        {"streamproc_windows_shrunk_total": {"a": stays((0, 30), (1, 1))}},
        [alert("StreamprocWindowsShrunk", "ticket")],
    ),
    "a window has diverged": (
        {"streamproc_windows_diverged_total": {"a": stays((0, 30), (1, 1))}},
        [alert("StreamprocWindowsDiverged", "ticket")],
    ),
    "no pod reaches Redis": (  # and a web process does
        {
            REDIS_UP: stays((1, 30), (0, 30), (1, 1)),
            "streamproc_ready": stays((1, 30), (0, 30), (1, 1)),
        },
        [alert("StreamprocRedisAway", "page")],
    ),
    "no pod reaches MongoDB, for as long as windows wait": (
        {
            'streamproc_dependency_up{dependency="mongodb"}': stays((1, 30), (0, 60), (1, 1)),
            "streamproc_ready": stays((1, 30), (0, 60), (1, 1)),
            'streamproc_overdue_seconds{shard="0"}': rises((0, 30), (60, 60), (-1200, 3), (0, 1)),
        },
        [alert("StreamprocMongodbAway", "page")],
    ),
    "Redis fills up": (
        {'streamproc_redis_memory_used_bytes{shard="0"}': stays((GIB, 30), (3.5 * GIB, 20), (GIB, 1))},
        [alert("StreamprocRedisMemoryHigh", "page", **SHARD)],
    ),
    "a replica is behind": (
        {'streamproc_replica_lag_seconds{shard="0"}': stays((0, 30), (31, 20), (0, 1))},
        [alert("StreamprocReplicasLagging", "ticket", **SHARD)],
    ),
    "a replica is gone": (
        {'streamproc_replicas{shard="0"}': stays((1, 30), (0, 1))},
        [alert("StreamprocReplicaMissing", "ticket", **SHARD)],
    ),
}

SILENT: Final[dict[str, Changes]] = {
    "all is well": {},
    # 0 / 0 is no share.
    "an hour without events": {
        metric: rises((2 * per_minute, 60), (0, 60), (per_minute, 1))
        for metric, (_, per_minute) in HEALTHY.items()
        if metric.startswith(("streamproc_channel", "streamproc_events"))
    },
    "pods are replaced one after the other": of_pods(
        a=((1, 30), (GONE, 1), (1, 60), (GONE, 1), (1, 1)), b=((1, 31), (GONE, 1), (1, 60), (GONE, 1), (1, 1))
    ),
    "both pods are gone for a minute": of_pods(a=((1, 30), (GONE, 1), (1, 1)), b=((1, 30), (GONE, 1), (1, 1))),
    "one of two pods is gone": of_pods(b=((1, 30), (GONE, 1))),
    "a pod joins": of_pods(b=((GONE, 60), (1, 1))),
    "just a twentieth of all segments have an error": {
        f'streamproc_channel_errors_total{{channel="{one}"}}': rises((2.5, 1)) for one in CHANNELS
    },
    "errors for a few minutes": {
        f'streamproc_channel_errors_total{{channel="{one}"}}': rises((1, 60), (5, 3), (1, 1)) for one in CHANNELS
    },
    "an error among few segments": {
        'streamproc_channel_segments_total{channel="news"}': rises((1, 1)),
        'streamproc_channel_errors_total{channel="news"}': rises((1, 1)),
    },
    "two seconds on average, and not more": {
        f'streamproc_channel_latency_seconds_sum{{channel="{one}"}}': rises((100, 1)) for one in CHANNELS
    },
    "a pod that was slow starts again": {
        'streamproc_channel_latency_seconds_sum{channel="news"}': {"a": rises((90, 60), (GONE, 1), (60, 1))},
        'streamproc_channel_latency_seconds_count{channel="news"}': {"a": rises((50, 60), (GONE, 1), (50, 1))},
    },
    "a pod is not ready while it starts": {"streamproc_ready": {"b": stays((0, 10), (1, 1))}},
    "a backlog is worked off": {
        'streamproc_lag_seconds{shard="0"}': rises((0, 30), (60, 8), (-10, 48), (0, 1)),
        'streamproc_lag_known{shard="0"}': stays((1, 30), (0, 20), (1, 1)),
    },
    "a long outage is worked off": {'streamproc_lag_seconds{shard="0"}': rises((-60, 100), (0, 1), start=6000)},
    "the lag is not counted at most looks of a busy stream": {
        'streamproc_lag_known{shard="0"}': {"a": stays((0, 1)), "b": stays(*((1, 1), (0, 9)) * 12)}
    },
    "a killed worker's entries are taken over": {
        'streamproc_oldest_pending_seconds{shard="0"}': rises((0, 30), (60, 2), (-120, 1), (0, 1))
    },
    "entries are pending for as long as the claim time is": {
        'streamproc_oldest_pending_seconds{shard="0"}': rises((0, 30), (60, 20), (-60, 20), (0, 1)),
        'streamproc_setting_seconds{setting="claim_idle"}': stays((600, 1)),
    },
    "a few events of an hour are refused": {
        'streamproc_dead_letters_total{reason="malformed"}': {"a": rises((0.1, 1)), "b": rises((0.05, 1))}
    },
    "many windows become due at once, and are stored": {
        'streamproc_overdue_seconds{shard="0"}': stays((0, 30), (7200, 3), (0, 1))
    },
    "a single flush fails": {"streamproc_flush_failures_total": {"a": stays((0, 30), (1, 1))}},
    "a measurement is refused once": {"streamproc_documents_refused_total": {"a": stays((0, 30), (1, 1))}},
    "an erasure takes its time": {"streamproc_erasures_unfinished": {"a": stays((0, 30), (1, 50), (0, 1))}},
    "a day is archived late, and then is": {"streamproc_archive_overdue_days": stays((0, 30), (1, 50), (0, 1))},
    "the imbalance cannot be told": {'streamproc_ledger_imbalance{shard="0"}': stays((0, 30), (float("nan"), 1))},
    "a pod that is gone saw more entries than the one that is left": {
        'streamproc_ledger_entries{shard="0",term="entries_added"}': {
            "a": stays((5000, 30), (5010, 30), (GONE, 1)),
            "b": stays((5000, 61), (5010, 1)),
        },
        'streamproc_events_total{outcome="counted"}': {"a": rises((0, 60), (GONE, 1))},
    },
    "counters of windows start again": {
        "streamproc_windows_shrunk_total": {"a": stays((3, 30), (GONE, 1), (0, 1))},
        "streamproc_windows_diverged_total": {"a": stays((3, 30), (GONE, 1), (0, 1))},
        "streamproc_documents_refused_total": {"a": stays((3, 30), (GONE, 1), (0, 1))},
        "streamproc_flush_failures_total": {"a": stays((3, 30), (GONE, 1), (0, 1))},
    },
    "one pod does not reach Redis for a while": {
        REDIS_UP: {"a": stays((1, 30), (0, 14), (1, 1))},
        "streamproc_ready": {"a": stays((1, 30), (0, 14), (1, 1))},
    },
    "Redis fails over": {REDIS_UP: stays((1, 30), (0, 1), (1, 1))},
    "MongoDB chooses another primary": {
        'streamproc_dependency_up{dependency="mongodb"}': stays((1, 30), (0, 5), (1, 1))
    },
    "Redis has no limit": {
        'streamproc_redis_memory_limit_bytes{shard="0"}': stays((0, 1)),
        'streamproc_redis_memory_used_bytes{shard="0"}': stays((100 * GIB, 1)),
    },
    "four fifths of Redis are used": {'streamproc_redis_memory_used_bytes{shard="0"}': stays((3.2 * GIB, 1))},
    "a replica is as far behind as late events are waited for": {
        'streamproc_replica_lag_seconds{shard="0"}': stays((30, 1))
    },
    "there are no replicas": {
        'streamproc_replicas{shard="0"}': stays((0, 1)),
        'streamproc_replica_lag_seconds{shard="0"}': stays((float("nan"), 1)),
    },
    "a replica starts again": {'streamproc_replicas{shard="0"}': stays((1, 30), (0, 10), (1, 1))},
}


@pytest.fixture(scope="module")
def alerts_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """The alerts that fired, by case."""
    cases = {name: changes for name, (changes, _) in FIRES.items()} | SILENT
    series: dict[str, str] = {}
    for name, changes in cases.items():
        series |= system(name, changes)
    # Scraped under the same job as the workers, as by the PodMonitor.
    series |= {labelled(REDIS_UP, job="no pod reaches Redis", instance="web:8080"): stays((1, 1))}
    of_cases: dict[str, list[dict[str, str]]] = {name: [] for name in cases}
    for labels in fired(series, tmp_path_factory.mktemp("rules")):
        of_cases[labels.pop("job")].append(labels)
    return of_cases


@pytest.mark.parametrize("case", FIRES)
def test_fires(case: str, alerts_of: dict[str, list[dict[str, str]]]) -> None:
    _, expected = FIRES[case]
    assert alerts_of[case] == expected


@pytest.mark.parametrize("case", SILENT)
def test_is_silent(case: str, alerts_of: dict[str, list[dict[str, str]]]) -> None:
    assert alerts_of[case] == []


def test_is_told_where_no_worker_has_ever_been(tmp_path: Path) -> None:
    assert fired({"up": f"1x{MINUTES}"}, tmp_path) == [alert("StreamprocNoWorkers", "page")]


def test_systems_in_two_namespaces_are_told_apart(tmp_path: Path) -> None:
    lag = 'streamproc_lag_seconds{shard="0"}'
    series = {
        labelled(name, namespace=namespace): values
        for namespace, changes in (("here", {}), ("there", {lag: stays((400, 1))}))
        for name, values in system("workers", changes).items()
    }
    (found,) = fired(series, tmp_path)
    assert found == alert("StreamprocLagGrowing", "page", job="workers", namespace="there", **SHARD)


def test_every_alert_fires_in_some_case() -> None:
    fire = {(one["alertname"], one["severity"]) for _, alerts in FIRES.values() for one in alerts}
    assert fire == {(rule["alert"], rule["labels"]["severity"]) for rule in rules()}


def test_prometheus_takes_the_rules() -> None:
    ended = promtool("check", "rules", RULES)
    assert ended.returncode == 0, ended.stdout + ended.stderr
