"""The pages that are generated from the code: docs/metrics.md and docs/settings.md.

`make docs` (``python -m tests.docs.generate``) writes them; test_generated_pages.py compares them with the code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr

from streamproc.app.settings import PREFIX, Settings
from streamproc.core.commits import Reason
from streamproc.core.details import Detail
from streamproc.core.ledger import LEDGER_TERMS
from streamproc.core.live import LiveWindows
from streamproc.metrics import LATENCY_BOUNDS_US, OUTCOMES, LiveCollector, Metrics

DOCS = Path(__file__).parents[2] / "docs"
_SCRAPED_AS = {"counter": "{}_total", "info": "{}_info"}

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
- `shard`: number of the shard, from 0
- `channel`: the channel's id; at most {channels} channels by name, all further ones together as `other`
"""

_SETTINGS_PAGE = """\
# Settings

Generated from [the code](../streamproc/app/settings.py) by `make docs`; a test compares them.

A setting is an environment variable, or a line of a file `.env` in the working directory; the environment wins. For a
secret, the variable with `_FILE` after its name may hold the path of a file with the value instead. Seconds may be
fractions. A wrong value stops the program at once, with exit code 2 and a message that names setting and rule.

{table}

`STREAMPROC_SHARDS` and `STREAMPROC_WINDOW_SECONDS` must be the same in all processes. They are written down with the
first data ([layout](formats.md#layout)); a worker whose settings differ does not run. To change them, use another
`STREAMPROC_PREFIX`.
"""


def metrics_page() -> str:
    metrics, live = Metrics(), LiveWindows(LATENCY_BOUNDS_US)
    live.add(0, "kan-11", [Detail(0, 0, 0, 0, 0, 0, 0, "he", "en")])
    metrics.registry.register(LiveCollector(live))
    rows = [
        (f"`{_SCRAPED_AS.get(one.type, '{}').format(one.name)}`", one.type, _codes(labels), one.documentation)
        for one, labels in _families(metrics)
    ]
    return _METRICS_PAGE.format(
        table=_table(("name", "type", "labels", "what it says"), rows),
        outcomes=_codes(OUTCOMES),
        reasons=_codes(Reason),
        terms=_codes(LEDGER_TERMS),
        channels=signature(LiveWindows).parameters["max_channels"].default,
    )


def _families(metrics: Metrics) -> Iterable[tuple[Metric, Sequence[str]]]:
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
    schema = Settings.model_json_schema()["properties"]
    rows = [
        (
            f"`{PREFIX}{name.upper()}`",
            _default(name),
            _allowed(schema[name]),
            f"{field.description}{' A secret.' if isinstance(field.default, SecretStr) else ''}",
        )
        for name, field in Settings.model_fields.items()
    ]
    return _SETTINGS_PAGE.format(table=_table(("name", "default", "allowed", "what it is"), rows))


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return {"consumer": "the host name"}[name]
    value = field.default
    text = str(value.get_secret_value() if isinstance(value, SecretStr) else value)
    return f"`{text.lower() if isinstance(value, bool) else text}`" if text else "none"


def _allowed(schema: dict[str, Any]) -> str:
    """The rule of a setting in words, from its JSON schema."""
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "boolean":
        return "`true` or `false`"
    if schema["type"] == "string":
        if "pattern" not in schema:
            return "text"
        signs = schema["pattern"].removeprefix("^[A-Za-z0-9").removesuffix("]+$")
        return f"1 to {schema['maxLength']} letters, digits or `{' '.join(signs)}`"
    number = "whole number" if schema["type"] == "integer" else "number"
    lowest = f"above {schema['exclusiveMinimum']:,}" if "exclusiveMinimum" in schema else f"from {schema['minimum']:,}"
    return f"{number} {lowest} to {schema['maximum']:,}"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


PAGES = {"metrics.md": metrics_page, "settings.md": settings_page}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())


if __name__ == "__main__":
    main()
