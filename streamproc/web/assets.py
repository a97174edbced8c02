"""The dashboard's files: read once, and served with a tag, by which a browser learns that nothing has changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from aiohttp import web

from streamproc.web.problems import Problem

INDEX: Final = "index.html"
_TYPES: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "json": "application/json",
    "woff2": "font/woff2",
}
_BINARY: Final = ("png", "ico", "woff2")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    content_type: str
    charset: str | None
    tag: str

    def response(self, request: web.Request) -> web.Response:
        """The file; without its content where the client has it."""
        headers = {"ETag": f'"{self.tag}"', "Cache-Control": "no-cache"}
        if any(tag.value in (self.tag, "*") for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=self.body, content_type=self.content_type, charset=self.charset, headers=headers)


class Assets:
    """All files of the package's folder `assets`."""

    def __init__(self) -> None:
        folder = files("streamproc.web") / "assets"
        self._by_name = {one.name: _asset(one.name, one.read_bytes()) for one in folder.iterdir() if one.is_file()}

    def get(self, name: str) -> Asset:
        """Raises Problem where there is none of that name."""
        try:
            return self._by_name[name]
        except KeyError:
            raise Problem(404, "there is no such file") from None


def _asset(name: str, body: bytes) -> Asset:
    suffix = name.rpartition(".")[2]
    charset = None if suffix in _BINARY else "utf-8"
    kind = _TYPES.get(suffix, "application/octet-stream")
    return Asset(body, kind, charset, hashlib.sha256(body).hexdigest()[:16])
