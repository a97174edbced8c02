"""Failures caused for real: contexts that spoil a server, or name another, and give the settings to meet it."""

from __future__ import annotations

import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pymongo

from streamproc.embedded import EmbeddedServer, binaries
from streamproc.stores.mongo.collection import COLLECTION

SECRET = "s3cr3t"

#: Settings by name, without prefix.
Change = dict[str, str]


Provoke = Callable[["Servers"], AbstractContextManager[Change]]


@dataclass
class Servers:
    """Servers of this file's own, to be spoiled; `database` and `stream` are those of the test."""

    valkey: EmbeddedServer
    mongod: EmbeddedServer
    admin: Any
    database: Any
    stream: str
    layout: str


@contextmanager
def settings(**change: str) -> Iterator[Change]:
    yield change


def with_settings(**change: str) -> Provoke:
    return lambda _: settings(**change)


@contextmanager
def configured(servers: Servers, **parameters: str) -> Iterator[Change]:
    """Parameters of Redis' own, put back afterwards."""
    before = {name: servers.admin.config_get(name)[name] for name in parameters}
    for name, value in parameters.items():
        servers.admin.config_set(name, value)
    try:
        yield {}
    finally:
        for name, value in before.items():
            servers.admin.config_set(name, value)


def with_parameters(**parameters: str) -> Provoke:
    return lambda servers: configured(servers, **{name.replace("_", "-"): value for name, value in parameters.items()})


@contextmanager
def with_password(servers: Servers, user: str = "") -> Iterator[Change]:
    """A password on Redis; `user` is how the URL begins that does not know it."""
    servers.admin.config_set("requirepass", SECRET)
    try:
        yield {"REDIS_URL": servers.valkey.url.replace("redis://", f"redis://{user}")}
    finally:
        servers.admin.config_set("requirepass", "")


@contextmanager
def needless_password(servers: Servers) -> Iterator[Change]:
    yield {"REDIS_URL": servers.valkey.url.replace("redis://", f"redis://:{SECRET}@")}


@contextmanager
def without_permission(servers: Servers) -> Iterator[Change]:
    servers.admin.execute_command("ACL", "SETUSER", "bob", "on", f">{SECRET}", "~other:*", "+@all")
    try:
        yield {"REDIS_URL": servers.valkey.url.replace("redis://", f"redis://bob:{SECRET}@")}
    finally:
        servers.admin.execute_command("ACL", "DELUSER", "bob")


@contextmanager
def wrong_type_of_key(servers: Servers) -> Iterator[Change]:
    servers.admin.set(servers.stream, "a string")
    yield {}


@contextmanager
def wrong_type_of_layout(servers: Servers) -> Iterator[Change]:
    servers.admin.set(servers.layout, "a string")
    yield {}


@contextmanager
def disk_full(servers: Servers) -> Iterator[Change]:
    """Redis cannot write its snapshot: a directory stands where the file belongs."""
    blocking = servers.valkey.directory / "dump.rdb"
    blocking.unlink(missing_ok=True)  # what an earlier test saved when it had healed it
    blocking.mkdir()
    with configured(servers, save="3600 1"):
        servers.admin.bgsave()
        wait_for(lambda: servers.admin.info("persistence")["rdb_last_bgsave_status"] == "err")
        try:
            yield {}
        finally:
            blocking.rmdir()
            servers.admin.bgsave()
            wait_for(lambda: servers.admin.info("persistence")["rdb_last_bgsave_status"] == "ok")


@contextmanager
def answering(answer: bytes, setting: str, scheme: str, *, hangs_up: bool) -> Iterator[Change]:
    """Something else on the port: it answers whatever it is told with the same."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.recv(4096)
                self.request.sendall(answer)
                if hangs_up:
                    self.request.shutdown(socket.SHUT_WR)
                while self.request.recv(4096):  # closing with something unread would cut the answer off
                    pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield {setting: f"{scheme}://127.0.0.1:{server.server_address[1]}"}
        server.shutdown()


def web_server(setting: str, scheme: str) -> Provoke:
    return lambda _: answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", setting, scheme, hangs_up=False)


def tls_server(setting: str, scheme: str) -> Provoke:
    """https://www.rfc-editor.org/rfc/rfc8446#section-6: a fatal alert, since no handshake came."""
    return lambda _: answering(b"\x15\x03\x01\x00\x02\x02\x46", setting, scheme, hangs_up=True)


@contextmanager
def guarded_mongod(servers: Servers) -> Iterator[Change]:
    """A MongoDB that knows its users, and is given none."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    directory = servers.mongod.directory / "guarded"
    directory.mkdir()
    program = str(binaries.MONGOD.find())
    place = ["--port", str(port), "--dbpath", str(directory), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    with (directory / "log").open("wb") as log, subprocess.Popen([program, *place, "--auth"], stdout=log) as process:
        try:
            with pymongo.MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}") as client:
                client.admin.command("createUser", "root", pwd=SECRET, roles=["root"])
            yield {"MONGODB_URL": f"mongodb://127.0.0.1:{port}"}
        finally:
            process.terminate()


@contextmanager
def mongodb_url(servers: Servers, user: str = "", options: str = "") -> Iterator[Change]:
    yield {"MONGODB_URL": f"mongodb://{user}127.0.0.1:{servers.mongod.port}/{options}"}


@contextmanager
def another_collection(servers: Servers) -> Iterator[Change]:
    servers.database.create_collection(COLLECTION)
    yield {}


@contextmanager
def another_layout(servers: Servers) -> Iterator[Change]:
    servers.admin.hset(servers.layout, mapping={"shards": 4, "window_ms": 2000, "format_version": 1})
    yield {}


def wait_for(holds: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)
