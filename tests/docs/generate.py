"""What is generated: docs/metrics.md and docs/settings.md from the code, the PrometheusRule from the rules.

`make docs` (``python -m tests.docs.generate``) writes them; tests compare them with what they are made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import signature
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase

from streamproc.app.settings import PREFIX, Settings
from streamproc.app.settings_described import NOT_SAFE_TO_CHANGE, allowed, default
from streamproc.app.settings_sources import SECRETS
from streamproc.core.commits import Reason
from streamproc.core.details import Detail
from streamproc.core.ledger import LEDGER_TERMS
from streamproc.core.live import LiveWindows
from streamproc.metrics import LATENCY_BOUNDS_US, LIMITING_SETTINGS, OUTCOMES, LiveCollector, Metrics
from streamproc.web.measuring import WebMetrics

DOCS = Path(__file__).parents[2] / "docs"
MONITORING = DOCS.parent / "k8s" / "base" / "monitoring"
_SCRAPED_AS = {"counter": "{}_total", "info": "{}_info"}

_PROMETHEUS_RULE = """\
# Generated from rules.yaml by `make docs`; a test compares them.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: streamproc
  labels:
    app.kubernetes.io/name: streamproc
spec:
"""

_METRICS_PAGE = """\
# Metrics

Generated from [the code](../streamproc/metrics.py) by `make docs`; a test compares them. Every worker serves them on
`/metrics`.

- A **counter** counts what this process did since it started. Sum it over all pods.
- A **gauge** with the label `shard` says where that shard stands. Every pod shows the same: take the maximum, not
  the sum.
- A **histogram** is scraped as `<name>_bucket`, `<name>_sum` and `<name>_count`.

{table}

Values of labels:

- `outcome`: {outcomes}
- `reason`: {reasons}
- `term`: {terms} ([the ledger](formats.md#ledger))
- `dependency`: `mongodb`, `redis`
- `setting`: {settings} (`STREAMPROC_WINDOW_SECONDS` and so on)
- `shard`: number of the shard, from 0
- `channel`: the channel's id; at most {channels} channels by name, all further ones together as `other`

## Of a web process

`streamproc web` serves these instead.

{web}

Values of labels:

- `route`: the pattern of [the route](http-api.md), such as `/api/channels/{{channel_id}}/hourly`; `unmatched` where
  there is none
- `method`: of HTTP; `other` for one that is seldom used
- `status`: of the answer; `aborted` where the client left before it
"""

_SETTINGS_PAGE = """\
# Settings

Generated from [the code](../streamproc/app/settings.py) by `make docs`; a test compares them.

A setting is an environment variable, or a line of a file `.env` in the working directory; the environment wins. For a
secret, the variable with `_FILE` after its name may hold the path of a file with the value instead. Seconds may be
fractions. `streamproc config` shows what is in force, and where it comes from.

A wrong value stops the program at once, with exit code 2 and a message that names setting and rule; all wrong ones are
named together. A variable that begins with `STREAMPROC_` and names no setting is told in the log when a command starts,
with the setting that was probably meant. (Kubernetes adds such variables for services whose names begin with
`streamproc-`; set `enableServiceLinks: false` in a pod of your own.)

{table}

## What is not safe to change

Not while there is data. Every other setting may be changed by starting the processes again.

{unsafe}

`STREAMPROC_SHARDS` and `STREAMPROC_WINDOW_SECONDS` must be the same in all processes. They are written down with the
first data ([layout](formats.md#layout)); a process whose settings differ does not run. To change them, use another
`STREAMPROC_PREFIX`: let the old workers run on the old one until `streamproc audit` shows nothing pending or open.
"""


def metrics_page() -> str:
    metrics, live = Metrics(), LiveWindows(LATENCY_BOUNDS_US)
    live.add(0, "kan-11", [Detail(0, 0, 0, 0, 0, 0, 0, "he", "en")])
    metrics.registry.register(LiveCollector(live))
    return _METRICS_PAGE.format(
        table=_metrics_table(metrics),
        web=_metrics_table(WebMetrics()),
        outcomes=_codes(OUTCOMES),
        reasons=_codes(Reason),
        terms=_codes(LEDGER_TERMS),
        settings=_codes(LIMITING_SETTINGS),
        channels=signature(LiveWindows).parameters["max_channels"].default,
    )


def _metrics_table(metrics: Metrics | WebMetrics) -> str:
    rows = [
        (f"`{_SCRAPED_AS.get(one.type, '{}').format(one.name)}`", one.type, _codes(labels), one.documentation)
        for one, labels in _families(metrics)
    ]
    return _table(("name", "type", "labels", "what it says"), rows)


def _families(metrics: Metrics | WebMetrics) -> Iterable[tuple[Metric, Sequence[str]]]:
    """Every metric on the registry, with its labels: declared ones, else those of its samples."""
    declared = {
        family.name: metric._labelnames  # the library has no public way to ask a metric that has no samples yet
        for metric in vars(metrics).values()
        if isinstance(metric, MetricWrapperBase)
        for family in metric.describe()
    }
    for family in metrics.registry.collect():
        sampled = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
        yield family, declared.get(family.name, tuple(sampled))


def settings_page() -> str:
    rows = [
        (
            f"`{PREFIX}{name.upper()}`",
            _default(name),
            allowed(name),
            f"{field.description}{' A secret.' if name in SECRETS else ''}",
        )
        for name, field in Settings.model_fields.items()
    ]
    return _SETTINGS_PAGE.format(
        table=_table(("name", "default", "allowed", "what it is"), rows),
        unsafe="\n".join(f"- `{PREFIX}{name.upper()}`: {why}." for name, why in NOT_SAFE_TO_CHANGE.items()),
    )


def _default(name: str) -> str:
    text = default(name)
    if Settings.model_fields[name].default_factory is not None:
        return text
    return f"`{text}`" if text else "none"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def prometheus_rule() -> str:
    """The alerts as the Prometheus operator wants them. kustomize cannot put a file of its own form into an object."""
    head, _, rules = (MONITORING / "rules.yaml").read_text().partition("groups:\n")
    assert rules, head
    indented = "".join(f"  {line}" if line.strip() else line for line in rules.splitlines(keepends=True))
    return f"{_PROMETHEUS_RULE}  groups:\n{indented}"


PAGES = {"metrics.md": metrics_page, "settings.md": settings_page}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
    (MONITORING / "prometheus-rule.yaml").write_text(prometheus_rule())


if __name__ == "__main__":
    main()
