"""What is served to everybody: the dashboard's files, and the pages that every process has."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from streamproc.app.pages import ALIVE, METRICS_TYPE, metrics_text, readiness
from streamproc.web.assets import INDEX, Assets
from streamproc.web.backend import Backend

#: Paths that need no token. The dashboard's figures come from `/api`.
OPEN_PATHS: Final = ("/", "/assets/{name}", "/metrics", "/healthz", "/readyz")


def add_pages(app: web.Application, backend: Backend) -> None:
    """Add the open paths to an application."""
    assets = Assets()

    async def index(request: web.Request) -> web.Response:
        return assets.get(INDEX).response(request)

    async def asset(request: web.Request) -> web.Response:
        return assets.get(request.match_info["name"]).response(request)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=metrics_text(backend.metrics.registry), headers={"Content-Type": METRICS_TYPE})

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(body=ALIVE, content_type="application/json")

    async def readyz(_request: web.Request) -> web.Response:
        """200 while any question can be answered; what is away is named all the same."""
        status, body = readiness(backend.troubles, ready=backend.ready)
        return web.Response(status=status, body=body, content_type="application/json")

    for path, handler in zip(OPEN_PATHS, (index, asset, metrics, healthz, readyz), strict=True):
        app.router.add_get(path, handler)
