"""What a request may ask: the parameters of each route, declared once for reading and for the OpenAPI document."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import unquote_to_bytes
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from streamproc.answers.limits import MAX_DAYS, MAX_HOURS, MAX_ID_CHARACTERS, MAX_LIMIT, MAX_MINUTES
from streamproc.core.refusals import shown
from streamproc.web.problems import Problem

_WHOLE: Final = re.compile(r"-?[0-9]+")
_NOT_NEAR_A_ZONE: Final = (ValueError, LookupError, OSError)

Minutes = Annotated[int, Meta(ge=1, le=MAX_MINUTES, description="How far back, in minutes.")]
Hours = Annotated[int, Meta(ge=1, le=MAX_HOURS, description="How far back, in hours; at most 90 days.")]
Days = Annotated[int, Meta(ge=1, le=MAX_DAYS, description="How many days, today among them.")]
Limit = Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="At most so many hours, the newest first.")]
TimeZone = Annotated[
    str,
    Meta(
        max_length=64,
        description="Time zone in which days begin: a name of the IANA database.",
        examples=["UTC", "Asia/Jerusalem"],
        extra={"rule": "a time zone's name, such as UTC or Asia/Jerusalem"},
    ),
]
Format = Annotated[Literal["json", "csv"], Meta(description="Wins over the header Accept.")]


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of a route that has none."""


class Tabular(Parameters, frozen=True, kw_only=True):
    """The query of a route that answers in CSV, too."""

    format: Format = "json"


class RecentParameters(Parameters, frozen=True, kw_only=True):
    minutes: Minutes = 5


class HourlyParameters(Tabular, frozen=True, kw_only=True):
    hours: Hours = 24


class TrendParameters(Tabular, frozen=True, kw_only=True):
    days: Days = 7
    tz: TimeZone = "UTC"


class ActivityParameters(Tabular, frozen=True, kw_only=True):
    days: Days = 30
    tz: TimeZone = "UTC"


class LatestParameters(Tabular, frozen=True, kw_only=True):
    limit: Limit = 20


Form = TypeVar("Form", bound=Parameters)


def read(form: type[Form], query: Sequence[tuple[str, str]]) -> Form:
    """The query as its route's parameters. Raises Problem, which names parameter, value and what is allowed."""
    known = {field.name: field for field in msgspec.structs.fields(form)}
    for name, times in Counter(name for name, _ in query).items():
        if name not in known:
            raise _bad(f"unknown parameter {shown(name)}; known here: {', '.join(known) or 'none'}")
        if times > 1:
            raise _bad(f"{name}: given {times} times; allowed is once")
    given = dict(query)
    for name, value in given.items():
        # What converts them takes 1e2 and 5.0, too.
        if isinstance(known[name].default, int) and not _WHOLE.fullmatch(value):
            raise _refusal(name, value, known[name].type)
    try:
        parameters = msgspec.convert(given, form, strict=False)
    except msgspec.ValidationError as error:
        match = re.search(r"`\$\.(\w+)`", str(error))
        name = match[1] if match else next(iter(given))
        raise _refusal(name, given[name], known[name].type) from None
    if (zone := given.get("tz")) is not None and not _is_time_zone(zone):
        raise _refusal("tz", zone, known["tz"].type)
    return parameters


def read_ids(path: str, pattern: str) -> dict[str, str]:
    """The names in braces of a route's pattern, from a path as it was sent: percent-encoded, with any character.

    Raises:
        Problem: one is no id.
    """
    pieces = zip(pattern.split("/"), path.split("/"), strict=True)
    return {name[1:-1]: _id(name[1:-1], sent) for name, sent in pieces if name.startswith("{")}


def _id(name: str, sent: str) -> str:
    try:
        found = unquote_to_bytes(sent).decode()
    except UnicodeDecodeError:
        raise _bad(f"{name}: {shown(sent)} is not UTF-8, percent-encoded") from None
    if not 0 < len(found) <= MAX_ID_CHARACTERS or not found.isprintable():
        raise _bad(f"{name}: {shown(found)} is no id; allowed are 1 to {MAX_ID_CHARACTERS} printable characters")
    return found


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except _NOT_NEAR_A_ZONE:
        return False
    return True


def _refusal(name: str, value: str, of_type: Any) -> Problem:
    return _bad(f"{name}: {shown(value)} is not allowed; allowed is {_rule(of_type)}")


def _rule(of_type: Any) -> str:
    """The rule of a parameter in words, from its JSON schema."""
    schema = msgspec.json.schema(of_type)
    if "enum" in schema:
        return " or ".join(sorted(schema["enum"], reverse=True))
    if schema["type"] == "integer":
        return f"a whole number from {schema['minimum']} to {schema['maximum']}"
    return str(_extra(of_type)["rule"])


def _extra(of_type: Any) -> Mapping[str, Any]:
    return next(meta.extra for meta in of_type.__metadata__ if meta.extra)


def _bad(error: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, error)
