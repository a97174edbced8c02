from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import streamproc
from streamproc.core.commits import Reason
from streamproc.core.details import Detail
from streamproc.core.ledger import LEDGER_TERMS
from streamproc.core.live import LiveWindows
from streamproc.metrics import LATENCY_BOUNDS_US, OUTCOMES, LiveCollector, Metrics

BASE_UNITS = ("seconds", "bytes")
OTHER_UNITS = r"_(ms|us|millis\w*|micros\w*|minutes|hours|days|kb|mb|percent)(_|$)"


@dataclass
class Committed:
    counted: int = 0
    duplicates: int = 0
    erased: int = 0
    forwarded: int = 0
    lost: int = 0
    dead_reasons: list[Reason] = field(default_factory=list)


def detail(total_us: int = 1_200_000, error: str = "") -> Detail:
    return Detail(0, 0, 0, 0, total_us, 0, 0, "he", "en", error=error)


def families(registry: CollectorRegistry) -> dict[str, Metric]:
    """As Prometheus reads them."""
    return {one.name: one for one in text_string_to_metric_families(generate_latest(registry).decode())}


def declared() -> list[Metric]:
    metrics = Metrics()
    metrics.registry.register(LiveCollector(LiveWindows(LATENCY_BOUNDS_US)))
    return list(metrics.registry.collect())


def events(metrics: Metrics) -> dict[str, float]:
    by_outcome = {
        name: metrics.registry.get_sample_value("streamproc_events_total", {"outcome": name}) for name in OUTCOMES
    }
    return {name: value for name, value in by_outcome.items() if value}


@pytest.mark.parametrize(
    ("name", "kind", "labels"),
    [
        ("streamproc_events_total", "counter", {"outcome": "counted"}),
        ("streamproc_lag_entries", "gauge", {"shard": "0"}),
        ("streamproc_lag_seconds", "gauge", {"shard": "0"}),
        ("streamproc_windows_flushed_total", "counter", {}),
        ("streamproc_ledger_imbalance", "gauge", {"shard": "0"}),
        ("streamproc_entries_lost_total", "counter", {}),
    ],
)
def test_names_that_others_rely_on_are_scraped(name: str, kind: str, labels: dict[str, str]) -> None:
    metrics = Metrics()
    for gauge in (metrics.lag_entries, metrics.lag_seconds, metrics.ledger_imbalance):
        gauge.labels("0").set(0)
    found = families(metrics.registry)[name.removesuffix("_total")]
    assert found.type == kind
    assert (name, labels) in [(sample.name, sample.labels) for sample in found.samples]


@pytest.mark.parametrize("metric", declared(), ids=lambda metric: str(metric.name))
def test_metric_follows_the_naming_conventions(metric: Metric) -> None:
    """https://prometheus.io/docs/practices/naming/"""
    assert re.fullmatch(r"streamproc(_[a-z]+)+", metric.name)
    counted = metric.name.removesuffix("_overdue_days")  # how many days, not how long
    assert not re.search(OTHER_UNITS, counted)
    assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
    assert not [unit for unit in BASE_UNITS if f"_{unit}_" in metric.name], "the unit comes last"
    assert metric.documentation.endswith(".")
    if metric.type == "histogram":
        assert metric.name.endswith(("_seconds", "_entries"))


def test_counters_are_scraped_with_total_and_without_a_time_of_creation() -> None:
    text = generate_latest(Metrics().registry).decode()
    counters = re.findall(r"^# TYPE (\w+) counter$", text, re.MULTILINE)
    assert counters
    assert all(name.endswith("_total") for name in counters)
    assert "_created" not in text


def test_every_declared_metric_is_fed_by_some_code() -> None:
    sources = Path(streamproc.__file__).parent.rglob("*.py")
    text = "\n".join(path.read_text() for path in sources)
    attributes = vars(Metrics()).keys() - {"registry"}
    unfed = [name for name in attributes if not re.search(rf"\.{name}\b(?! = )", text)]
    assert unfed == []


def test_two_sets_of_metrics_do_not_disturb_each_other() -> None:
    one, other = Metrics(), Metrics()
    one.record_commit(Committed(counted=1), 0)
    assert events(other) == {}


def test_commit_is_counted_by_outcome_and_reason() -> None:
    metrics = Metrics()
    dead = [Reason.MALFORMED, Reason.MALFORMED, Reason.TOO_LATE]
    metrics.record_commit(Committed(10, 4, 3, 2, 1, dead), unknown_fields=7)
    assert events(metrics) == {
        "counted": 10,
        "duplicate": 4,
        "dead_lettered": 3,
        "erased": 3,
        "forwarded": 2,
        "lost": 1,
    }
    value = metrics.registry.get_sample_value
    reasons = {reason: value("streamproc_dead_letters_total", {"reason": reason}) for reason in Reason}
    assert reasons == {Reason.MALFORMED: 2, Reason.FUTURE: 0, Reason.TOO_LATE: 1, Reason.POISON: 0}
    assert value("streamproc_entries_lost_total") == 1
    assert value("streamproc_unknown_fields_total") == 7
    assert (value("streamproc_commit_entries_count"), value("streamproc_commit_entries_sum")) == (1, 23)


def test_commits_add_up() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.record_commit(Committed(counted=2, duplicates=1), 0)
    assert events(metrics) == {"counted": 6, "duplicate": 3}


def test_commit_that_acknowledged_nothing_is_no_observation_of_size() -> None:
    metrics = Metrics()
    metrics.record_commit(Committed(), 0)
    assert events(metrics) == {}
    assert metrics.registry.get_sample_value("streamproc_commit_entries_count") == 0


def test_every_outcome_and_reason_is_scraped_before_it_happens() -> None:
    found = families(Metrics().registry)
    assert {sample.labels["outcome"] for sample in found["streamproc_events"].samples} == set(OUTCOMES)
    assert {sample.labels["reason"] for sample in found["streamproc_dead_letters"].samples} == set(Reason)


def test_terms_of_the_ledger_hold_every_outcome() -> None:
    plural = {"duplicate": "duplicates"}
    assert {plural.get(outcome, outcome) for outcome in OUTCOMES} <= set(LEDGER_TERMS)


def test_live_figures_of_a_channel_are_scraped() -> None:
    registry, live = CollectorRegistry(), LiveWindows(LATENCY_BOUNDS_US)
    registry.register(LiveCollector(live))
    live.add(0, "kan-11", [detail(100_000), detail(1_200_000, error="timeout"), detail(60_000_000)])
    value = registry.get_sample_value
    kan = {"channel": "kan-11"}
    assert value("streamproc_channel_segments_total", kan) == 3
    assert value("streamproc_channel_errors_total", kan) == 1
    assert value("streamproc_channel_latency_seconds_sum", kan) == pytest.approx(61.3)
    assert value("streamproc_channel_latency_seconds_count", kan) == 3
    buckets = {
        le: value("streamproc_channel_latency_seconds_bucket", {**kan, "le": le}) for le in ("0.1", "1.5", "+Inf")
    }
    assert buckets == {"0.1": 1, "1.5": 2, "+Inf": 3}


def test_at_most_500_channels_have_a_name_of_their_own() -> None:
    registry, live = CollectorRegistry(), LiveWindows(LATENCY_BOUNDS_US)
    registry.register(LiveCollector(live))
    for number in range(510):
        live.add(0, f"channel-{number}", [detail()])
    samples = families(registry)["streamproc_channel_segments"].samples
    by_channel = {sample.labels["channel"]: sample.value for sample in samples}
    assert len(by_channel) == 501
    assert by_channel["channel-499"] == 1
    assert "channel-500" not in by_channel
    assert by_channel["other"] == 10


def test_a_channel_named_with_quotes_and_lines_cannot_spoil_the_page() -> None:
    registry, live = CollectorRegistry(), LiveWindows(LATENCY_BOUNDS_US)
    registry.register(LiveCollector(live))
    name = 'kan"11\\ {x="y"}'
    live.add(0, name, [detail()])
    (sample,) = families(registry)["streamproc_channel_segments"].samples
    assert sample.labels == {"channel": name}
