"""The pages every process serves: /metrics, /healthz, /readyz."""

from __future__ import annotations

from typing import Any

import orjson
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from streamproc.app.pod import Pod


def add_pages(app: Any, pod: Pod) -> None:
    """Add the pages to a Faust app."""

    @app.page("/metrics", name="metrics")
    async def metrics(web: Any, _request: Any) -> Any:
        body = generate_latest(pod.metrics.registry)
        response = web.bytes(body)
        response.headers["Content-Type"] = CONTENT_TYPE_LATEST
        return response

    @app.page("/healthz", name="healthz")
    async def healthz(web: Any, _request: Any) -> Any:
        return web.bytes(b'{"status":"alive"}', content_type="application/json")

    @app.page("/readyz", name="readyz")
    async def readyz(web: Any, _request: Any) -> Any:
        """200 where Redis and MongoDB answer, every activity succeeds and reading moves; else 503 and what is wrong."""
        trouble = pod.troubles
        body = orjson.dumps({"status": "ready"} if not trouble else {"status": "not ready", "trouble": trouble})
        return web.bytes(body, content_type="application/json", status=503 if trouble else 200)
