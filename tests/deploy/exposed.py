"""What is scraped, and what an expression of PromQL asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from manifests import ROOT

#: Labels that come with the scrape, whatever the metric.
OF_SCRAPE: Final = frozenset({"job", "instance", "namespace", "pod"})
_ROW: Final = re.compile(r"^\| `(streamproc_\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)
_ASKED: Final = re.compile(r"\b((?:streamproc_|ALERTS)\w*)(?:\{(.*?)\})?")


def exposed() -> dict[str, set[str]]:
    """The labels of every series by its name, of workers and web processes: docs/metrics.md, which is the code's."""
    found: dict[str, set[str]] = {}
    for name, kind, labels in _ROW.findall((ROOT / "docs" / "metrics.md").read_text()):
        own = set(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            found |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
        else:
            found[name] = own
    return found


def asked(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The names in an expression, each with the labels that it is chosen by."""
    for name, matchers in _ASKED.findall(expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))


def grouped(expression: str) -> set[str]:
    """The labels that an expression groups or joins by."""
    lists = re.findall(r"\b(?:by|on)\s*\(([\w, ]*)\)", expression)
    return {label for one in lists for label in re.findall(r"\w+", one)}


def strange(expression: str) -> list[str]:
    """The names and labels in an expression that nothing scraped has."""
    series = {**exposed(), "ALERTS": {"alertname", "alertstate", "severity"}}
    wrong, known = [], set(OF_SCRAPE)
    for name, labels in asked(expression):
        if name not in series:
            wrong.append(name)
            continue
        known |= series[name]
        wrong += [f"{name}{{{label}}}" for label in labels - series[name] - OF_SCRAPE]
    return wrong + [f"by {label}" for label in grouped(expression) - known]
