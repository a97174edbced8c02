"""The OpenAPI 3.1 document, made from the table of routes and the types of their parameters and answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from streamproc import __version__
from streamproc.answers.limits import MAX_ID_CHARACTERS
from streamproc.web.parameters import Parameters, Tabular
from streamproc.web.problems import Error

if TYPE_CHECKING:
    from streamproc.web.routes import Route

_JSON: Final = "application/json"
#: What a request may be refused with, beside 405, and when.
ERRORS: Final = {
    HTTPStatus.BAD_REQUEST: "A parameter or an id is wrong; names it, its value and what is allowed",
    HTTPStatus.UNAUTHORIZED: "The bearer token is missing or wrong",
    HTTPStatus.FORBIDDEN: "Not without STREAMPROC_API_TOKEN; says what to do",
    HTTPStatus.NOT_FOUND: "There is none of that id",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of the server; the log names it by `request_id`",
    HTTPStatus.SERVICE_UNAVAILABLE: "Redis or MongoDB is away, or a setting is missing; says which",
}


@cache
def document(routes: Sequence[Route], *, wants_token: bool) -> dict[str, Any]:
    """The document, as plain JSON values. `wants_token`: whether the server that serves it has a token."""
    answers = [route.answer for route in routes if isinstance(route.answer, type) and _is_struct(route.answer)]
    _, schemas = msgspec.json.schema_components([*answers, Error], ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "streamproc",
            "version": __version__,
            "description": "Exact hourly measurements of dubbed video segments.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}] if wants_token else [],
    }


def _operation(route: Route) -> dict[str, Any]:
    refused = [status for status in ERRORS if status is not HTTPStatus.NOT_FOUND or "erasure_id" in route.path]
    return {
        "operationId": route.ask.__name__.removeprefix("_"),
        "summary": route.about,
        "parameters": [*_ids(route.path), *_query(route.parameters)],
        "responses": {str(int(route.status)): _answer(route), **{str(int(one)): _refusal(one) for one in refused}},
    }


def _ids(path: str) -> Iterable[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARACTERS}
    for name in re.findall(r"{(\w+)}", path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": "Percent-encoded; printable characters.",
            "schema": schema,
        }


def _query(parameters: type[Parameters]) -> Iterable[dict[str, Any]]:
    for field in msgspec.structs.fields(parameters):
        schema = {**msgspec.json.schema(field.type), "default": field.default}
        description = schema.pop("description", "")
        yield {"name": field.name, "in": "query", "description": description, "schema": schema}


def _answer(route: Route) -> dict[str, Any]:
    struct = _is_struct(route.answer)
    schema = {"$ref": f"#/components/schemas/{route.answer.__name__}"} if struct else {"type": "object"}
    content: dict[str, Any] = {_JSON: {"schema": schema}}
    if issubclass(route.parameters, Tabular):
        content["text/csv"] = {"schema": {"type": "string"}}
    return {"description": route.about, "content": content}


def _refusal(status: HTTPStatus) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{Error.__name__}"}
    return {"description": ERRORS[status], "content": {_JSON: {"schema": schema}}}


def _is_struct(answer: Any) -> bool:
    return isinstance(answer, type) and issubclass(answer, msgspec.Struct)
