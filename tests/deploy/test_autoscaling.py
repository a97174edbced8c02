"""What KEDA asks Prometheus is the backlog: of all shards together, each once, of this system alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from manifests import ROOT, Object, render
from promtool import LEFT_OUT, WHY_LEFT_OUT, promtool

from streamproc.app.settings import Settings

#: What the pods of two namespaces say of their shards. The second pod of the first has just looked, the first before.
SERIES = {
    'streamproc_lag_entries{namespace="streamproc", pod="a", shard="0"}': 4000,
    'streamproc_pending_entries{namespace="streamproc", pod="a", shard="0"}': 500,
    'streamproc_lag_entries{namespace="streamproc", pod="b", shard="0"}': 5000,
    'streamproc_pending_entries{namespace="streamproc", pod="b", shard="0"}': 600,
    'streamproc_lag_entries{namespace="streamproc", pod="a", shard="1"}': 30,
    'streamproc_pending_entries{namespace="streamproc", pod="a", shard="1"}': 7,
    'streamproc_lag_entries{namespace="another", pod="x", shard="0"}': 900_000,
    'streamproc_pending_entries{namespace="another", pod="x", shard="0"}': 0,
}
BACKLOG = 5000 + 600 + 30 + 7


@pytest.fixture(scope="module")
def scaled_object() -> Object:
    (found,) = [obj for obj in render(ROOT / "k8s" / "overlays" / "production") if obj["kind"] == "ScaledObject"]
    return found


@pytest.fixture
def trigger(scaled_object: Object) -> dict[str, str]:
    (one,) = scaled_object["spec"]["triggers"]
    metadata: dict[str, str] = one["metadata"]
    return metadata


@pytest.mark.skipif(LEFT_OUT, reason=WHY_LEFT_OUT)
def test_the_query_adds_up_the_backlog(trigger: dict[str, str], tmp_path: Path) -> None:
    wanted = {"labels": "{}", "value": BACKLOG}
    case = {
        "interval": "15s",
        "input_series": [{"series": series, "values": f"{value}x4"} for series, value in SERIES.items()],
        "promql_expr_test": [{"expr": trigger["query"], "eval_time": "1m", "exp_samples": [wanted]}],
    }
    path = tmp_path / "query.yaml"
    path.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [case]}))
    answer = promtool("test", "rules", path)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_query_names_the_namespace_of_its_overlay_and_metrics_that_exist(
    scaled_object: Object, trigger: dict[str, str]
) -> None:
    assert set(re.findall(r'namespace="([^"]+)"', trigger["query"])) == {scaled_object["metadata"]["namespace"]}
    metrics = (ROOT / "docs" / "metrics.md").read_text()
    named = re.findall(r"streamproc_\w+", trigger["query"])
    assert len(named) == 2
    assert all(f"| `{name}` | gauge | `shard` |" in metrics for name in named)


def test_a_worker_at_work_is_no_backlog(trigger: dict[str, str]) -> None:
    """A batch that is being committed and the next one, which is read meanwhile, are pending all the time."""
    in_hand = 2 * Settings.load().consume_policy.max_events
    assert int(trigger["threshold"]) >= 2 * in_hand


def test_the_unknown_is_never_taken_for_an_empty_stream(trigger: dict[str, str], scaled_object: Object) -> None:
    """With KEDA's default no series is 0; and a `fallback` would be a number of pods, however many there are."""
    assert trigger["ignoreNullValues"] == "false"
    assert "fallback" not in scaled_object["spec"]
