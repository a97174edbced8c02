"""The pages every process serves: /metrics, /healthz, /readyz; and what an HTTP server says that cannot listen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from streamproc.app.settings import Settings

if TYPE_CHECKING:
    from streamproc.app.pod import Pod

METRICS_TYPE: Final = CONTENT_TYPE_LATEST
ALIVE: Final = b'{"status":"alive"}'


class CannotListen(RuntimeError):
    """The HTTP server's address cannot be had. The message says why and what to do."""

    def __init__(self, settings: Settings, error: OSError) -> None:
        super().__init__(
            f"cannot serve HTTP on {settings.web_host} port {settings.web_port}: {error.strerror or error}. Set "
            "STREAMPROC_WEB_HOST to an address of this machine, STREAMPROC_WEB_PORT to a free port (0: any)"
        )


def metrics_text(registry: CollectorRegistry) -> bytes:
    """The body of /metrics."""
    return generate_latest(registry)


def readiness(trouble: Sequence[str], *, ready: bool) -> tuple[int, bytes]:
    """Status and body of /readyz."""
    body: dict[str, Any] = {"status": "ready" if ready else "not ready"}
    if trouble:
        body["trouble"] = trouble
    return 200 if ready else 503, orjson.dumps(body)


def add_pages(app: Any, pod: Pod) -> None:
    """Add the pages to a Faust app."""

    @app.page("/metrics", name="metrics")
    async def metrics(web: Any, _request: Any) -> Any:
        response = web.bytes(metrics_text(pod.metrics.registry))
        response.headers["Content-Type"] = METRICS_TYPE
        return response

    @app.page("/healthz", name="healthz")
    async def healthz(web: Any, _request: Any) -> Any:
        return web.bytes(ALIVE, content_type="application/json")

    @app.page("/readyz", name="readyz")
    async def readyz(web: Any, _request: Any) -> Any:
        """200 where Redis and MongoDB answer, every activity succeeds and reading moves; else 503 and what is wrong."""
        status, body = readiness(pod.troubles, ready=not pod.troubles)
        return web.bytes(body, content_type="application/json", status=status)
