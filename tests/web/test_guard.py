"""Who may ask what: with a token, without one, from this machine, from another, from a page in a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamproc.app.settings import Settings
from streamproc.web.guard import is_loopback
from streamproc.web.routes import ROUTES

from .conftest import System
from .serving import KEY, TOKEN, Web

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPEN = ["/", "/assets/index.html", "/metrics", "/healthz", "/readyz"]
PATHS = [(route.method, route.path.replace("{", "").replace("}", "")) for route in ROUTES]


@pytest.mark.parametrize(("method", "path"), [*PATHS, ("GET", "/api"), ("GET", "/api/nothing"), ("PUT", "/api/hours")])
async def test_with_a_token_all_of_the_api_needs_it(web: Web, method: str, path: str) -> None:
    reply = await web.get(path, method, Authorization="")
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Bearer realm="streamproc"')
    assert "Authorization: Bearer" in reply.error


@pytest.mark.parametrize(
    "header",
    [f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer", "Bearer ", "Bearer \xff\xfe", f"Bearer {TOKEN.upper()}"],
)
async def test_a_wrong_token_is_refused_and_not_repeated(web: Web, header: str) -> None:
    reply = await web.get("/api/channels", Authorization=header)
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"].endswith('error="invalid_token"')
    assert TOKEN.lower() not in reply.body.decode().lower()


@pytest.mark.parametrize("header", [TOKEN, f"Basic {TOKEN}", f"Bearer{TOKEN}"])
async def test_a_token_without_its_scheme_is_none(web: Web, header: str) -> None:
    assert (await web.get("/api/channels", Authorization=header)).status == 401


async def test_the_scheme_may_be_written_as_one_likes(web: Web) -> None:
    assert (await web.get("/api/channels", Authorization=f"bearer {TOKEN}")).status == 200


async def test_a_token_in_the_query_is_no_token(web: Web) -> None:
    assert (await web.get(f"/api/channels?access_token={TOKEN}", Authorization="")).status == 401


@pytest.mark.parametrize("path", OPEN)
async def test_the_page_and_the_probes_need_none(web: Web, path: str) -> None:
    assert (await web.get(path, Authorization="")).status == 200


async def test_with_a_token_any_host_name_is_answered(web: Web) -> None:
    assert (await web.get("/api/channels", Host="streamproc.example")).status == 200


async def test_without_a_token_this_machine_is_answered(open_web: Web) -> None:
    port = open_web.port
    for host in (f"127.0.0.1:{port}", "localhost", f"LOCALHOST:{port}", f"[::1]:{port}", "127.8.9.10"):
        assert (await open_web.get("/api/channels", Host=host)).status == 200, host


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[",
        "0.0.0.0",
    ],
)
async def test_without_a_token_a_page_whose_name_was_rebound_is_not(open_web: Web, host: str) -> None:
    reply = await open_web.get("/api/channels", Host=host)
    assert reply.status == 403
    assert "only 127.0.0.1, [::1] and localhost are answered" in reply.error


async def test_without_a_host_nobody_is(open_web: Web) -> None:
    with open_web.connect() as connection:
        connection.sendall(b"GET /api/channels HTTP/1.0\r\n\r\n")
        assert connection.recv(1000).split()[1] == b"403"


async def test_without_a_token_erasure_is_off(open_web: Web, system: System) -> None:
    erasures = system.pods.database["erasures"]
    before = await erasures.count_documents({})
    for method, path in (("DELETE", "/api/users/nobody"), ("GET", "/api/erasures/0")):
        reply = await open_web.get(path, method)
        assert reply.status == 403
        assert "STREAMPROC_API_TOKEN" in reply.error
    assert await erasures.count_documents({}) == before


async def test_on_another_address_without_a_token_the_api_is_off_and_says_so(another_web: Callable[..., Web]) -> None:
    web = another_web(WEB_HOST="0.0.0.0").start()
    for path in ("/api/channels", "/api/openapi.json", "/api/nothing"):
        reply = await web.get(path)
        assert reply.status == 403
        assert "STREAMPROC_API_TOKEN" in reply.error
    assert (await web.get("/healthz")).status == 200
    assert "/api is off: STREAMPROC_WEB_HOST is 0.0.0.0" in web.log


async def test_on_another_address_with_a_token_it_is_on(another_web: Callable[..., Web]) -> None:
    web = another_web(WEB_HOST="0.0.0.0", API_TOKEN=TOKEN).start()
    assert (await web.get("/api/channels")).status == 200
    assert (await web.get("/api/channels", Authorization="")).status == 401
    assert "is off" not in web.log


async def test_a_page_of_another_origin_is_allowed_nothing(web: Web) -> None:
    headers = {"Origin": "https://evil.example", "Access_Control_Request_Method": "GET"}
    for method in ("GET", "OPTIONS"):
        reply = await web.get("/api/channels", method, **headers)
        assert not [name for name in reply.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", [*OPEN, "/api/channels", "/api/nothing", "/nothing"])
async def test_every_answer_tells_browsers_to_be_careful(web: Web, path: str) -> None:
    headers = (await web.get(path)).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
    assert headers["Server"] == "streamproc"
    kept = "no-cache" if path in ("/", "/assets/index.html") else "no-store"
    assert headers["Cache-Control"] == kept


async def test_no_secret_is_in_the_log(web: Web) -> None:
    assert not [secret for secret in (TOKEN, KEY) if secret in web.log]


async def test_what_is_loopback_and_what_is_not() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.255.0.1", "::1", "localhost", "LocalHost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "example.com", "", "localhost.example", "127.1"]))


async def test_loopback_is_where_it_listens_by_default() -> None:
    assert is_loopback(Settings.model_fields["web_host"].default)
