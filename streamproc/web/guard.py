"""Who may ask. The one rule: with a token everybody who presents it; without one, this machine alone.

A page in a browser on this machine is not this machine: it may have had its own name resolved to 127.0.0.1 (DNS
rebinding). What gives it away is the header Host, which then names that page's host.
"""

from __future__ import annotations

import hmac
import logging
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from streamproc.app.settings import MAKE_KEY, PREFIX, Settings
from streamproc.core.refusals import shown
from streamproc.web.problems import Problem

logger = logging.getLogger(__name__)

_TOKEN: Final = f"{PREFIX}API_TOKEN"


class Guard:
    """Admits requests to `/api`, or says why not."""

    def __init__(self, settings: Settings) -> None:
        self._token = settings.api_token.get_secret_value().encode()
        self._host = settings.web_host
        self._closed = (
            f"/api is off: {PREFIX}WEB_HOST is {self._host}, which is not loopback, and there is no {_TOKEN}. "
            f"Set one ({MAKE_KEY}), or listen on 127.0.0.1"
        )

    @property
    def wants_token(self) -> bool:
        return bool(self._token)

    def warn(self) -> None:
        """Say at the start what is off."""
        if not self._token and not is_loopback(self._host):
            logger.warning(self._closed)

    def admit(self, request: web.Request) -> None:
        """Raises Problem where the request must not be answered."""
        if self._token:
            self._require_token(request)
        elif not is_loopback(self._host):
            raise Problem(HTTPStatus.FORBIDDEN, self._closed)
        else:
            _require_loopback(request)

    def admit_to_erasures(self) -> None:
        """Raises Problem without a token: whoever may look at this machine's figures may not erase people."""
        if not self._token:
            raise Problem(HTTPStatus.FORBIDDEN, f"erasure is off without {_TOKEN}. {MAKE_KEY}")

    def _require_token(self, request: web.Request) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized(f"this needs the header Authorization: Bearer <{_TOKEN} of the server>", "")
        if not hmac.compare_digest(given.strip().encode(errors="surrogateescape"), self._token):
            raise _unauthorized(f"the bearer token is not the server's {_TOKEN}", ', error="invalid_token"')


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _require_loopback(request: web.Request) -> None:
    sent = request.headers.get("Host", "")
    try:
        host = urlsplit(f"//{sent}").hostname or ""
    except ValueError:
        host = ""
    if not is_loopback(host):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            f"the header Host is {shown(sent)}: without {_TOKEN} only 127.0.0.1, [::1] and localhost are answered",
        )


def _unauthorized(error: str, detail: str) -> Problem:
    challenge = f'Bearer realm="streamproc"{detail}'
    return Problem(HTTPStatus.UNAUTHORIZED, error, headers={"WWW-Authenticate": challenge})
