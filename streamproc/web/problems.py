"""What a request is refused with."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import orjson
from aiohttp import web


class Error(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why there is no answer, in words: what is wrong, and what is allowed or to be done.

    Attributes:
        request_id: names the request in the server's log; only where the fault is the server's own.
    """

    error: str
    request_id: str = ""


class Problem(Exception):
    """A request that gets an error instead of an answer. The words are for whoever asked, never for the log."""

    def __init__(
        self, status: int, error: str, *, headers: Mapping[str, str] | None = None, request_id: str = ""
    ) -> None:
        super().__init__(error)
        self.status = status
        self.body = Error(error=error, request_id=request_id)
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        body = orjson.dumps(self.body, default=msgspec.to_builtins)
        return web.Response(status=self.status, body=body, content_type="application/json", headers=self.headers)
