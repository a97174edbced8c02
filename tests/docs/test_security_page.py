"""The Caddyfile of docs/security.md in front of a real web process: what it lets through, and what it does not."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from certificates import Certificates, make_certificates
from pages import ROOT, inline_code, read, section, snippets, table
from web.serving import KEY, TOKEN, Web

from streamproc.app.settings_sources import SECRETS
from streamproc.embedded import EmbeddedServer

CADDY = Path(sys.executable).with_name("caddy")
#: An id with everything that proxies like to tidy up.
ODD_USER = "dana%2F..%2F%2e%2e%2F%20x%25y"


class Front(NamedTuple):
    """The proxy, and what it takes to believe it."""

    port: int
    trusting: ssl.SSLContext

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trusting, timeout=20)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def web(valkey: EmbeddedServer, mongod: EmbeddedServer) -> Iterator[Web]:
    name = f"security_{uuid4().hex[:8]}"
    servers = {"REDIS_URL": valkey.url, "MONGODB_URL": mongod.url, "PREFIX": name, "MONGODB_DATABASE": name}
    one = Web({**servers, "API_TOKEN": TOKEN, "ERASURE_KEY": KEY})
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture(scope="module")
def front(web: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("caddy")
    certificates = make_certificates(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = folder / "Caddyfile"
    path.write_text(caddyfile(port, web.port, certificates))
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [CADDY, "run", "--config", path, "--adapter", "caddyfile"], env=environment, stderr=log
        ) as process,
    ):
        try:
            wait_for(port, process, folder / "log")
            yield Front(port, ssl.create_default_context(cafile=str(certificates.authority)))
        finally:
            process.terminate()


def caddyfile(port: int, upstream: int, certificates: Certificates) -> str:
    """As it stands on the page, but for the name, the certificate and the ports."""
    (text,) = snippets("docs/security.md", "caddyfile")
    assert "streamproc.example.com {\n" in text
    assert "127.0.0.1:8080" in text
    site = f"https://127.0.0.1:{port} {{\n\ttls {certificates.certificate} {certificates.key}\n"
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    return options + text.replace("streamproc.example.com {\n", site).replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up_s = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up_s, log.read_text()
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("path", ["/", "/api/channels", "/api/openapi.json"])
def test_what_is_for_strangers_is_let_through_over_tls(front: Front, path: str) -> None:
    status, headers, _ = front.ask("GET", path)
    assert status == 200
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(
    "path", ["/metrics", "/healthz", "/readyz", "//metrics", "/api/../metrics", "/assets/../metrics"]
)
def test_what_is_for_ones_own_network_is_not(front: Front, web: Web, path: str) -> None:
    assert front.ask("GET", path)[0] == 404


def test_a_path_arrives_as_it_was_sent(front: Front) -> None:
    status, _, body = front.ask("GET", f"/api/users/{ODD_USER}/activity")
    assert (status, json.loads(body)["user_id"]) == (200, "dana/../../ x%y")


def test_a_large_request_is_refused(front: Front) -> None:
    status, _, _ = front.ask("DELETE", "/api/users/dana", b"x" * 100_000)
    assert status in (400, 413)


def test_every_secret_is_on_the_page() -> None:
    named = {row[1].strip("`") for row in table(section("docs/security.md", "Secrets"))}
    assert named == {f"STREAMPROC_{name.upper()}_FILE" for name in SECRETS}


def test_the_users_and_roles_on_the_page_are_those_of_the_files() -> None:
    users = {row[0].strip("`") for row in table(section("docs/security.md", "Rights"))}
    lines = (ROOT / "docs/security/redis-users.acl").read_text().splitlines()
    assert users == {line.split()[1] for line in lines} - {"default"}
    roles: list[dict[str, Any]] = json.loads((ROOT / "docs/security/mongodb-roles.json").read_text())
    assert {role["createRole"] for role in roles} <= set(inline_code(read("docs/security.md")))


def test_mongosh_is_given_the_file_and_a_role_that_is_in_it() -> None:
    (script,) = snippets("docs/security.md", "javascript")
    (path,) = re.findall(r'readFileSync\("([^"]+)"\)', script)
    (role,) = re.findall(r'roles: \["(\w+)"\]', script)
    assert role in {one["createRole"] for one in json.loads(read(path))}
