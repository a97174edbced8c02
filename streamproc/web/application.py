"""The aiohttp application: from a request to an answer, or to an error in words.

Around every request, from the outside in: measured and logged, errors put into words, admitted, answered.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from aiohttp import web

from streamproc.answers.tables import to_csv
from streamproc.app.explain import SERVER_FAILURES, explain, server_of
from streamproc.web.backend import Backend
from streamproc.web.guard import Guard
from streamproc.web.measuring import pattern
from streamproc.web.pages import OPEN_PATHS, add_pages
from streamproc.web.parameters import Tabular, read, read_ids
from streamproc.web.problems import Problem
from streamproc.web.routes import ROUTES, Route

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# So many questions at once; further ones wait. Each may hold an answer of megabytes.
_AT_ONCE: Final = 16
_LONGEST_S: Final = 30.0
_LARGEST_BODY: Final = 1024  # nobody has to send any

_SECURITY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "streamproc",
    "X-Content-Type-Options": "nosniff",
}


def make_application(backend: Backend) -> web.Application:
    """The application of a backend, which its caller starts and closes."""
    guard = Guard(backend.settings)
    guard.warn()
    app = web.Application(middlewares=[_measured(backend), _worded, _guarded(guard)], client_max_size=_LARGEST_BODY)
    app.on_response_prepare.append(_add_headers)
    add_pages(app, backend)
    turn = asyncio.Semaphore(_AT_ONCE)
    for route in ROUTES:
        answer = _answering(route, backend, guard, turn)
        path = route.path.replace("}", ":[^/]+}")  # aiohttp's own idea of a name is without braces
        if route.method == "GET":
            app.router.add_get(path, answer)
        else:
            app.router.add_route(route.method, path, answer)
    return app


def _answering(route: Route, backend: Backend, guard: Guard, turn: asyncio.Semaphore) -> Handler:
    """The handler of a route."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if route.erasure:
            guard.admit_to_erasures()
        ids = read_ids(request.rel_url.raw_path, route.path)
        query = read(route.parameters, list(request.query.items()))
        found = await _asked(route.ask(backend, ids, query), turn)
        _require_a_layer(route, found)
        if isinstance(query, Tabular) and _wants_csv(request, query):
            return _csv(route, found)
        headers = {"Vary": "Accept"} if isinstance(query, Tabular) else {}
        body = orjson.dumps(found, default=msgspec.to_builtins)
        return web.Response(status=route.status, body=body, content_type="application/json", headers=headers)

    return answer


async def _asked(question: Awaitable[Any], turn: asyncio.Semaphore) -> Any:
    """The answer to a question, within its time. Raises Problem."""
    try:
        async with asyncio.timeout(_LONGEST_S), turn:
            return await question
    except TimeoutError:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"no answer within {_LONGEST_S:.0f} s: Redis or MongoDB is slow, or asked too much. Ask for less, or again",
        ) from None
    except SERVER_FAILURES as error:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{server_of(error)}: {explain(error)}") from None


def _require_a_layer(route: Route, found: Any) -> None:
    """No rows, since nothing that holds some could be asked, is no answer. Raises Problem."""
    if not route.rows or getattr(found, route.rows):
        return
    missing = {one.layer: one.reason for one in found.missing}
    if missing.keys() >= set(route.layers):
        reasons = "; ".join(f"{layer}: {missing[layer]}" for layer in route.layers)
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, reasons)


def _wants_csv(request: web.Request, query: Tabular) -> bool:
    if "format" in request.query:
        return query.format == "csv"
    accepted = [one.partition(";")[0].strip().lower() for one in request.headers.get("Accept", "").split(",")]
    return "text/csv" in accepted and "application/json" not in accepted


def _csv(route: Route, found: Any) -> web.Response:
    """Raises Problem where something is missing: a table has no place to say so."""
    if found.missing:
        reasons = "; ".join(f"{one.layer}: {one.reason}" for one in found.missing)
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"incomplete, and CSV cannot say so; JSON can. {reasons}")
    name = f"{route.path.rpartition('/')[2]}.csv"
    headers = {"Vary": "Accept", "Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(text=to_csv(found), content_type="text/csv", headers=headers, status=route.status)


def _measured(backend: Backend) -> Any:
    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        began_s, status = time.perf_counter(), "aborted"
        with backend.metrics.in_progress.track_inprogress():
            try:
                response = await handler(request)
                status = str(response.status)
                return response
            finally:
                backend.metrics.record(request, status, time.perf_counter() - began_s)

    return measure


@web.middleware
async def _worded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error becomes JSON with words. A fault of ours is logged, without what the exception says: ids."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPMethodNotAllowed as refused:
        allowed = ", ".join(sorted(refused.allowed_methods))
        words = f"{request.method} is not allowed here; allowed: {allowed}"
        return Problem(refused.status, words, headers={"Allow": allowed}).response()
    except web.HTTPNotFound as refused:
        return Problem(refused.status, "there is nothing at this path; /api/openapi.json lists what is").response()
    except web.HTTPException as refused:
        return Problem(refused.status, refused.reason).response()
    except Exception as error:
        return _fault(request, error).response()


def _fault(request: web.Request, error: Exception) -> Problem:
    """Log where it happened, the innermost place first, under an id which the answer names."""
    request_id, kind = secrets.token_hex(8), type(error).__name__
    frames = reversed(traceback.extract_tb(error.__traceback__))
    at = " < ".join(f"{'/'.join(Path(one.filename).parts[-3:])}:{one.lineno} {one.name}" for one in frames)
    words = "request %s: %s %s: %s at %s"
    logger.error(words, request_id, request.method, pattern(request), kind, at, extra={"each": True})
    words = "a fault of the server; its log tells more under this request_id"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, words, request_id=request_id)


def _guarded(guard: Guard) -> Any:
    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        outside = resource is None and not request.path.startswith("/api")
        if not outside and (resource is None or resource.canonical not in OPEN_PATHS):
            guard.admit(request)
        return await handler(request)

    return admit


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _SECURITY.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
