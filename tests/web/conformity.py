"""Is an answer what the OpenAPI document says? Every answer that a test gets from `/api` is held against it."""

from __future__ import annotations

import json
import re
from functools import cache
from http.client import HTTPMessage
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from streamproc.web import openapi
from streamproc.web.routes import ROUTES

_ERROR = {"$ref": "#/components/schemas/Error"}


@cache
def document() -> dict[str, Any]:
    return openapi.document(ROUTES, wants_token=True)


def require(method: str, path: str, status: int, headers: HTTPMessage, body: bytes) -> None:
    """Fails where the document does not describe the answer."""
    operation = _operation(method, path)
    if operation is None:
        assert status in (401, 403, 404, 405), f"{method} {path}: {status}"
        return _require_schema(_ERROR, body)
    described = operation["responses"].get(str(status))
    assert described, f"{method} {path}: {status} is not described"
    kind = headers["Content-Type"].partition(";")[0]
    assert kind in described["content"], f"{method} {path}: {status} as {kind} is not described"
    if kind == "application/json":
        _require_schema(described["content"][kind]["schema"], body)
    return None


def _require_schema(schema: dict[str, Any], body: bytes) -> None:
    whole = {**schema, "components": document()["components"]}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(json.loads(body))


def _operation(method: str, path: str) -> dict[str, Any] | None:
    path = path.partition("?")[0]
    for template, operations in document()["paths"].items():
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
            operation: dict[str, Any] | None = operations.get(method.lower())
            return operation
    return None
