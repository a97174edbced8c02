"""The Grafana dashboard, and its queries as Grafana sends them."""

from __future__ import annotations

import json
from typing import Any, Final

from promtool import MONITORING

DASHBOARD: Final[dict[str, Any]] = json.loads((MONITORING / "dashboard.json").read_text())
PANELS: Final[list[dict[str, Any]]] = [one for one in DASHBOARD["panels"] if one["type"] != "row"]
QUERIES: Final[list[str]] = [target["expr"] for panel in PANELS for target in panel["targets"]]


def plain(query: str) -> str:
    """A query as Grafana sends it with everything chosen."""
    for variable, value in (("$__rate_interval", "1m"), ("$job", ".*"), ("$shard", ".*"), ("$channel", ".*")):
        query = query.replace(variable, value)
    assert "$" not in query
    return query
