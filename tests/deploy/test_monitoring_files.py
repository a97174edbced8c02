"""Alerts, dashboard and their provisioning: whatever they name exists, and each alert leads to what to do about it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from exposed import asked, exposed, strange
from grafana import DASHBOARD, PANELS, QUERIES, plain
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from manifests import ROOT, load_all
from promtool import LEFT_OUT, MONITORING, WHY_LEFT_OUT, promtool, rules

RUNBOOKS: Final = ROOT / "docs" / "runbooks.md"
PARTS: Final = ["What it means.", "How to look.", "What to do."]
WIDTH: Final = 24

needs_promtool = pytest.mark.skipif(LEFT_OUT, reason=WHY_LEFT_OUT)
every_rule = pytest.mark.parametrize("rule", rules(), ids=lambda rule: f"{rule['alert']} {rule['labels']['severity']}")
every_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))


def sections() -> dict[str, str]:
    """What stands under each heading of the runbooks, by its anchor."""
    parts = re.split(r"^#+ (.+)\n", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]
    return {heading.lower().replace(" ", "-"): text for heading, text in zip(parts[::2], parts[1::2], strict=True)}


# Alerts


@every_rule
def test_an_alert_asks_for_what_is_scraped(rule: dict[str, Any]) -> None:
    assert list(asked(rule["expr"]))
    assert strange(rule["expr"]) == []


@every_rule
def test_an_alert_says_how_urgent_it_is_and_what_is_wrong(rule: dict[str, Any]) -> None:
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "runbook_url"}


@every_rule
def test_an_alert_leads_to_its_runbook(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert (ROOT / page, anchor) == (RUNBOOKS, rule["alert"].lower())
    assert re.findall(r"^\*\*(.+?)\*\*", sections()[anchor], re.MULTILINE) == PARTS


def test_every_runbook_is_of_an_alert() -> None:
    of_alerts = [anchor for anchor in sections() if anchor.startswith("streamproc")]
    assert of_alerts == list(dict.fromkeys(rule["alert"].lower() for rule in rules())), "in the order of the rules"


@every_rule
def test_an_alert_waits_for_longer_than_the_last_word_of_a_pod_that_is_gone(rule: dict[str, Any]) -> None:
    """Or it asks for what cannot be undone: a counter that has grown, entries that are lost."""
    last_word = "last_over_time" in rule["expr"] and rule["alert"] != "StreamprocEntriesLost"
    minutes = {"m": 1, "h": 60}.get(rule.get("for", "0m")[-1], 0) * int(rule.get("for", "0m")[:-1])
    assert minutes >= 2 or not last_word


def test_a_metric_or_label_that_nothing_has_is_found() -> None:
    expression = 'sum by (shard) (streamproc_lag_secs) + streamproc_lag_seconds{sherd="0"} + on (chanel) up'
    assert strange(expression) == ["streamproc_lag_secs", "streamproc_lag_seconds{sherd}", "by chanel"]
    assert strange('sum by (channel) (rate(streamproc_channel_segments_total{job="a"}[5m]))') == []


@needs_promtool
def test_prometheus_takes_its_configuration() -> None:
    ended = promtool("check", "config", MONITORING / "prometheus.yaml")
    assert ended.returncode == 0, ended.stdout + ended.stderr


# Dashboard


@every_panel
def test_a_panel_asks_for_what_is_scraped(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        assert strange(target["expr"]) == []


@every_panel
def test_a_panel_has_a_unit_and_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@needs_promtool
def test_every_query_is_promql(tmp_path: Path) -> None:
    """As rules that record them, which promtool reads."""
    recorded = [{"record": f"query:{number}", "expr": plain(query)} for number, query in enumerate(QUERIES)]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    ended = promtool("check", "rules", path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(QUERIES)} rules found" in ended.stdout


def test_every_field_is_one_of_grafanas_model() -> None:
    """Read into Grafana's own types and written again, nothing is missing."""
    assert lacking(DASHBOARD, in_grafanas_words(DASHBOARD)) == []


def test_a_field_that_grafana_does_not_know_is_found() -> None:
    broken = json.loads(json.dumps(DASHBOARD))
    broken["panels"][1]["fieldConfig"]["defaults"]["units"] = "s"
    broken["panels"][1]["targets"][0]["expression"] = "up"
    found = lacking(broken, in_grafanas_words(broken))
    assert set(found) == {".panels[1].fieldConfig.defaults.units", ".panels[1].targets[0].expression"}


def in_grafanas_words(dashboard: dict[str, Any]) -> Any:
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))


def lacking(one: Any, other: Any, path: str = "") -> list[str]:
    """Where the other has not what the one has; it may have more."""
    if isinstance(one, dict) and isinstance(other, dict):
        gone = [f"{path}.{name}" for name in one if name not in other]
        return gone + [
            line for name in one if name in other for line in lacking(one[name], other[name], f"{path}.{name}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for number, pair in pairs for line in lacking(*pair, f"{path}[{number}]")]
    return [] if one == other else [path]


def test_ids_are_unique_and_no_panel_covers_another() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    fields = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(fields)) == len(fields)
    assert max(x for x, _ in fields) < WIDTH


def test_variables_are_those_that_queries_use() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    text = json.dumps(DASHBOARD["panels"])
    assert set(re.findall(r"\$\{?([a-z]\w*)", text)) == variables.keys() == {"datasource", "job", "shard", "channel"}
    for name, variable in variables.items():
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
            assert label == name
            assert strange(f"sum by ({label}) ({plain(metric)})") == []


def test_every_metric_of_where_a_shard_stands_is_on_the_dashboard() -> None:
    shown = {name for query in QUERIES for name, _ in asked(query)}
    of_shards = {name for name, labels in exposed().items() if "shard" in labels}
    assert of_shards - shown <= {"streamproc_lag_known"}


# Provisioning of Grafana


def test_grafana_finds_data_source_and_dashboard() -> None:
    (sources,) = load_all(MONITORING / "grafana" / "datasources" / "prometheus.yaml")
    (providers,) = load_all(MONITORING / "grafana" / "dashboards" / "streamproc.yaml")
    (source,), (provider,) = sources["datasources"], providers["providers"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
