"""Embedded servers come up, and end with whoever started them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pymongo
import pytest
import redis

from streamproc.embedded import EmbeddedServer, ServerUnavailable, keeper, servers, start_mongod, start_valkey

STARTERS: list[Callable[[], EmbeddedServer]] = [start_valkey, start_mongod]
BOUND_SECONDS = 30.0


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait until it holds. The bound only ends a wait for what never comes."""
    give_up = time.monotonic() + BOUND_SECONDS
    while not holds() and time.monotonic() < give_up:
        time.sleep(0.02)
    return holds()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Owned(NamedTuple):
    """A process that has started a server, and what it told about it."""

    process: subprocess.Popen[str]
    port: int
    directory: Path


@pytest.fixture(params=["start_valkey", "start_mongod"])
def owned(request: pytest.FixtureRequest) -> Iterator[Owned]:
    script = (
        f"from streamproc.embedded import {request.param} as start\n"
        "server = start()\n"
        "print(server.port, server.directory, flush=True)\n"
        "input()\n"
    )
    root = Path(servers.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdout is not None
        port, directory = process.stdout.readline().split()
        yield Owned(process, int(port), Path(directory))
        process.kill()


@pytest.mark.parametrize("start", STARTERS)
def test_a_server_listens_until_it_is_stopped(start: Callable[[], EmbeddedServer]) -> None:
    with start() as server:
        assert listens(server.port)
        assert server.directory.is_dir()
    assert not listens(server.port)
    assert not server.directory.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_and_its_directory_go_when_its_owner_is_killed(owned: Owned, number: signal.Signals) -> None:
    assert listens(owned.port)
    owned.process.send_signal(number)
    assert eventually(lambda: not listens(owned.port) and not owned.directory.exists())


def test_a_server_and_its_directory_go_when_its_owner_just_ends(owned: Owned) -> None:
    assert listens(owned.port)
    owned.process.communicate("\n")
    assert owned.process.returncode == 0
    assert eventually(lambda: not listens(owned.port) and not owned.directory.exists())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")
def test_a_server_goes_when_its_keeper_is_killed() -> None:
    with start_valkey() as server:
        os.kill(parent_of(server.pid), signal.SIGKILL)
        assert eventually(lambda: not listens(server.port))
    assert not server.directory.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_keeper_that_is_asked_to_stop_takes_server_and_directory_along() -> None:
    with start_valkey() as server:
        os.kill(parent_of(server.pid), signal.SIGTERM)
        assert eventually(lambda: not listens(server.port) and not server.directory.exists())


def test_a_frozen_server_is_ended_all_the_same() -> None:
    with start_valkey() as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert not listens(server.port)
    assert not server.directory.exists()


def test_ctrl_c_in_the_terminal_does_not_reach_the_server() -> None:
    with start_valkey() as server:
        assert os.getsid(server.pid) != os.getsid(0)


def test_two_servers_have_their_own_ports_and_directories() -> None:
    with start_valkey() as one, start_valkey() as other:
        assert one.port != other.port
        assert one.directory != other.directory


def test_stopping_twice_is_fine() -> None:
    server = start_valkey()
    server.stop()
    server.stop()
    assert not server.directory.exists()


def test_stopping_a_server_that_was_never_started_is_fine(valkey: EmbeddedServer) -> None:
    server = EmbeddedServer(valkey.program)
    server.stop()
    with pytest.raises(RuntimeError, match="valkey is not started"):
        _ = server.pid


def test_the_log_can_be_read_after_the_stop() -> None:
    with start_valkey() as server:
        pass
    assert "Ready to accept connections" in server.log_tail()


def test_a_taken_port_is_passed_over(valkey: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # The one who has the port answers just like the server that is to be started.
    free = servers._free_port()
    ports = iter([valkey.port, free])
    monkeypatch.setattr(servers, "_free_port", lambda: next(ports))
    with start_valkey() as server:
        assert server.port == free


@pytest.mark.parametrize("start", STARTERS)
def test_a_server_that_finds_no_free_port_says_so(
    start: Callable[[], EmbeddedServer], valkey: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_free_port", lambda: valkey.port)
    with pytest.raises(ServerUnavailable, match=r"(?i)address already in use"):
        start()


def test_a_persistent_valkey_keeps_what_it_acknowledged_through_a_kill() -> None:
    with start_valkey(persistent=True) as server, redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
        port, pid = server.port, server.pid
        os.kill(pid, signal.SIGKILL)
        server.restart()
        assert (server.port, server.pid != pid) == (port, True)
        assert client.get("kept") == b"yes"


def test_an_ordinary_valkey_comes_back_empty_after_a_kill() -> None:
    with start_valkey() as server, redis.Redis.from_url(server.url) as client:
        client.set("lost", "yes")
        os.kill(server.pid, signal.SIGKILL)
        server.restart()
        assert client.dbsize() == 0


def test_a_mongod_keeps_what_it_journaled_through_a_kill() -> None:
    with start_mongod() as server, pymongo.MongoClient[dict[str, Any]](server.url, journal=True) as client:
        client.test.kept.insert_one({"_id": 1})
        os.kill(server.pid, signal.SIGKILL)
        server.restart()
        assert client.test.kept.find_one() == {"_id": 1}


def test_a_replica_set_of_one_is_primary_after_start_kill_and_restart() -> None:
    with start_mongod(replica_set=True) as server:
        assert is_primary(server)
        os.kill(server.pid, signal.SIGKILL)
        server.restart()
        assert is_primary(server)
        server.restart()
        assert is_primary(server)


def test_a_server_that_still_runs_is_ended_before_it_is_restarted() -> None:
    with start_valkey(persistent=True) as server, redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
        server.restart()
        assert client.get("kept") == b"yes"
    assert not server.directory.exists()


def test_extra_arguments_reach_the_server() -> None:
    with start_valkey(extra_args=["--maxmemory", "12mb"]) as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory*") | {"maxmemory": "12582912", "maxmemory-policy": "noeviction"} == (
            client.config_get("maxmemory*")
        )


def test_each_redis_under_test_is_empty_and_new_enough(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        version = str(client.info("server")["redis_version"])
        assert tuple(map(int, version.split(".")[:2])) >= (7, 0)


def test_a_keeper_passes_on_the_servers_exit_code(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()
    command = [sys.executable, "-S", "-E", keeper.__file__, str(directory), "--", "/bin/sh", "-c", "exit 7"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read().strip().isdigit()  # ends with the server, not with the keeper
        assert directory.exists()
        process.communicate()
    assert process.returncode == 7
    assert not directory.exists()


def is_primary(server: EmbeddedServer) -> bool:
    with pymongo.MongoClient[dict[str, Any]]("127.0.0.1", server.port, directConnection=True) as client:
        return bool(client.admin.command("hello")["isWritablePrimary"])


def parent_of(pid: int) -> int:
    """The process that is parent of `pid`: of a server, its keeper."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
