"""Where settings come from: the environment, a file ``.env``, and for a secret a file that ``..._FILE`` names.

Of one setting the environment wins over a line of ``.env``, and in each the variable itself over its ``..._FILE``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

from dotenv import dotenv_values

PREFIX: Final = "STREAMPROC_"
SECRETS: Final = ("redis_url", "mongodb_url", "api_token", "erasure_key")
DOTENV: Final = ".env"

#: Variables of this prefix that belong to the tests.
_OF_TESTS: Final = {"STREAMPROC_REQUIRE_TOOLS", "STREAMPROC_SIMULATION_SEED"}
# What Kubernetes puts into every pod for a service named streamproc-...:
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK: Final = re.compile(r".*(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")


class Found(NamedTuple):
    """One setting that a person gave.

    Attributes:
        value: as it was written; '' where it could not be read.
        origin: where it was found, for people.
        problem: why it could not be read; '' where it was.
    """

    value: str
    origin: str
    problem: str = ""


def find(names: Iterable[str]) -> dict[str, Found]:
    """Those of these settings that are given, by name. A file that cannot be read is a problem, and raises nothing."""
    places = list(_places())
    found = {name: _find(name, places) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def unknown(names: Iterable[str]) -> dict[str, str]:
    """Given variables that name no setting, each with the setting that was probably meant, or ''.

    What Kubernetes adds of its own accord is nobody's mistake, and left out.
    """
    known = [f"{PREFIX}{name.upper()}" for name in names]
    known += [f"{PREFIX}{name.upper()}_FILE" for name in SECRETS]
    given = {name: value for _, variables in _places() for name, value in variables.items()}
    return {
        name: _closest(name, known)
        for name, value in sorted(given.items())
        if not (name in known or name in _OF_TESTS or _SERVICE_LINK.fullmatch(name) or is_service_link(value))
    }


def _closest(name: str, known: Iterable[str]) -> str:
    """The known variable that is nearest, or '' where none is near. What all begin with does not count."""
    of = {one.removeprefix(PREFIX): one for one in known}
    return next((of[match] for match in get_close_matches(name.removeprefix(PREFIX), of, 1)), "")


def is_service_link(value: str) -> bool:
    """Whether Kubernetes put this value into a variable ``..._PORT``."""
    return value.startswith(("tcp://", "udp://", "sctp://"))


def _places() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Where variables are looked for, and those of ours that are there. Their case does not matter."""
    yield "environment", _ours(os.environ)
    path = Path(DOTENV)
    if path.is_file():
        yield str(path.resolve()), _ours({name: value or "" for name, value in dotenv_values(path).items()})


def _ours(variables: Mapping[str, str]) -> dict[str, str]:
    return {name.upper(): value for name, value in variables.items() if name.upper().startswith(PREFIX)}


def _find(name: str, places: Iterable[tuple[str, Mapping[str, str]]]) -> Found | None:
    variable = f"{PREFIX}{name.upper()}"
    for place, variables in places:
        if variable in variables:
            return Found(variables[variable], place)
        if name in SECRETS and f"{variable}_FILE" in variables:
            return _read(f"{variable}_FILE", variables[f"{variable}_FILE"])
    return None


def _read(variable: str, path: str) -> Found:
    origin = f"file {path}"
    try:
        return Found(Path(path).read_text().strip(), origin)
    except OSError as error:
        return Found("", origin, f"{variable}={path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return Found("", origin, f"{variable}={path}: cannot be read: it is no text")
