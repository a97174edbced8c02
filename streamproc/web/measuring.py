"""What is known of the requests: metrics on a registry of their own, and one line in the log for each.

Both name the route's pattern, never what stood in its place, and no query: ids of users stand there.
"""

from __future__ import annotations

import logging
import platform
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, Histogram, Info

from streamproc import __version__

access = logging.getLogger("streamproc.web.access")

UNMATCHED: Final = "unmatched"
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# Asked for every few seconds, by machines.
_SILENT: Final = ("/healthz", "/readyz", "/metrics")
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class WebMetrics:
    """The metrics of a web process."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        self.requests = Histogram(
            "streamproc_http_request_duration_seconds",
            "Time from a request until its answer was made; `_count` counts requests.",
            ["method", "route", "status"],
            registry=r,
            buckets=_SECONDS,
        )
        self.in_progress = Gauge(
            "streamproc_http_requests_in_progress", "Requests that are being answered.", registry=r
        )
        self.dependency_up = Gauge(
            "streamproc_dependency_up", "1 while the dependency answers.", ["dependency"], registry=r
        )
        Info("streamproc_build", "Version of streamproc and Python.", registry=r).info(
            {"version": __version__, "python": platform.python_version()}
        )
        for name in ("redis", "mongodb"):
            self.dependency_up.labels(name)

    def record(self, request: web.Request, status: str, seconds: float) -> None:
        """Count a request, and log it. `status`: of the answer; ``aborted`` where the client left before it."""
        route = pattern(request)
        method = request.method if request.method in _METHODS else "other"
        self.requests.labels(method, route, status).observe(seconds)
        level, ms = logging.DEBUG if route in _SILENT else logging.INFO, round(seconds * 1000)
        line = {"each": True, "method": method, "route": route, "status": status, "ms": ms}
        access.log(level, "%(method)s %(route)s %(status)s %(ms)d ms", line, extra=line)


def pattern(request: web.Request) -> str:
    """The pattern of the request's route: of a path without one only that it has none."""
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical
