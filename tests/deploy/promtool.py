"""Prometheus and promtool (Debian's package `prometheus`), and series of samples for promtool's tests of rules.

https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from manifests import ROOT, load_all

MONITORING: Final = ROOT / "k8s" / "base" / "monitoring"
RULES: Final = MONITORING / "rules.yaml"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
LEFT_OUT: Final = PROMTOOL is None and os.environ.get("STREAMPROC_REQUIRE_TOOLS") != "1"
WHY_LEFT_OUT: Final = "no promtool on PATH"

_EVERY_S: Final = 60
_HOURS: Final = 2
MINUTES: Final = 60 * _HOURS
#: Of a spell in which a pod is not there.
GONE: Final = None


def rules() -> list[dict[str, Any]]:
    """All alerts, in their order."""
    (file,) = load_all(RULES)
    return [rule for group in file["groups"] for rule in group["rules"]]


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL, "install promtool: it comes with Debian's package prometheus"
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)


def stays(*spells: tuple[float | None, int]) -> str:
    """Samples of a gauge: for each spell its value, and for how many minutes. It keeps the last one to the end."""
    return _samples((value, 0, minutes) for value, minutes in spells)


def rises(*spells: tuple[float | None, int], start: float = 0) -> str:
    """Samples of a counter: for each spell by how much it grows in a minute, and for how many minutes.

    After a spell in which it is GONE, be it of no minutes, it starts again from 0: another pod's, or another Redis'.
    """
    value, parts = start, []
    for per_minute, minutes in spells:
        parts.append((None if per_minute is None else value, (per_minute or 0) * _EVERY_S / 60, minutes))
        value = 0 if per_minute is None else value + per_minute * minutes
    return _samples(parts)


def _samples(spells: Iterable[tuple[float | None, float, int]]) -> str:
    """Of spells of (first value, growth between samples, minutes)."""
    words, left = [], MINUTES * 60 // _EVERY_S + 1
    spells = list(spells)
    for number, (value, growth, minutes) in enumerate(spells):
        count = left if number == len(spells) - 1 else minutes * 60 // _EVERY_S
        left -= count
        if not count:
            continue
        if value is None:
            words.append("stale" if count == 1 else f"stale _x{count - 1}")
        else:
            words.append(f"{value:.12g}{growth:+.12g}x{count - 1}")
    return " ".join(words)


def labelled(metric: str, **labels: str) -> str:
    """``name{a="1"}`` with more labels."""
    match = re.fullmatch(r"(\w+)(?:\{(.*)\})?", metric)
    assert match, metric
    own = [f'{name}="{value}"' for name, value in labels.items()]
    return f"{match[1]}{{{','.join([*own, *([match[2]] if match[2] else [])])}}}"


def fired(series: Mapping[str, str], directory: Path) -> list[dict[str, str]]:
    """The labels of all alerts that promtool has seen fire at any time of these series."""
    query = f'max without (alertstate, __name__) (max_over_time(ALERTS{{alertstate="firing"}}[{_HOURS}h]))'
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": f"{_EVERY_S}s",
        "tests": [
            {
                "interval": f"{_EVERY_S}s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                # It tells what it got where that is not what it was told to expect.
                "promql_expr_test": [{"expr": query, "eval_time": f"{MINUTES}m", "exp_samples": []}],
            }
        ],
    }
    path = directory / "test.yaml"
    path.write_text(yaml.safe_dump(test))
    ended = promtool("test", "rules", path)
    said = ended.stdout + ended.stderr
    if ended.returncode == 0:
        return []
    (got,) = re.findall(r"^ *got: ?(.*)$", said, re.MULTILINE) or [said]
    found = [dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)) for labels in re.findall(r"\{(.*?)\} 1E\+00", got)]
    assert found, said
    return found
