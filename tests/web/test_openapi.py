"""The OpenAPI document: valid, complete, and what a tool that believes it finds to be true.

That every answer of every other test is as the document says is held by `serving.Web.ask`.
"""

from __future__ import annotations

import asyncio
import re
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from streamproc.web.routes import ROUTES

from .serving import TOKEN, Web

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own dependencies'
    import schemathesis
    from schemathesis import GenerationMode, checks

pytestmark = pytest.mark.asyncio(loop_scope="session")

# An id of unprintable characters is refused, and a JSON schema cannot say what is printable.
_NOT_SAID = {GenerationMode.POSITIVE: [checks.positive_data_acceptance], GenerationMode.NEGATIVE: []}


async def test_the_document_is_valid_openapi(web: Web) -> None:
    document = (await web.get("/api/openapi.json")).data
    assert document["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(document).validate()


async def test_it_has_every_route_and_no_other(web: Web) -> None:
    paths = (await web.get("/api/openapi.json")).data["paths"]
    described = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert described == {(route.method, route.path) for route in ROUTES}


async def test_it_says_whether_a_token_is_needed(web: Web, open_web: Web) -> None:
    assert (await web.get("/api/openapi.json")).data["security"] == [{"token": []}]
    assert (await open_web.get("/api/openapi.json")).data["security"] == []


async def test_every_name_it_refers_to_is_there(web: Web) -> None:
    document = (await web.get("/api/openapi.json")).data
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names == set(document["components"]["schemas"])


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not allowed"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_tool_that_believes_it_is_not_disappointed(web: Web, route: Any, mode: GenerationMode) -> None:
    document = (await web.get("/api/openapi.json")).data
    operation = schemathesis.openapi.from_dict(document)[route.path][route.method]
    if mode is GenerationMode.NEGATIVE and not operation.query:
        return  # whatever stands in its path is an id

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def ask(case: Any) -> None:
        case.call_and_validate(
            base_url=f"http://127.0.0.1:{web.port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            excluded_checks=_NOT_SAID[mode],
        )

    await asyncio.to_thread(ask)
