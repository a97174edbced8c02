"""The pages that every process has, and the dashboard's files."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .serving import Web

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def samples(web: Web) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = (await web.get("/metrics")).body.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def requests(web: Web, method: str, route: str, status: str) -> float:
    labels = (("method", method), ("route", route), ("status", status))
    return (await samples(web)).get(("streamproc_http_request_duration_seconds_count", labels), 0.0)


async def test_requests_are_counted_by_the_pattern_of_their_route(web: Web) -> None:
    route = "/api/users/{user_id}/activity"
    before = await requests(web, "GET", route, "200"), await requests(web, "GET", route, "400")
    await web.get("/api/users/dana%2F1/activity")
    await web.get("/api/users/dana%2F1/activity?days=0")
    after = await requests(web, "GET", route, "200"), await requests(web, "GET", route, "400")
    assert after == (before[0] + 1, before[1] + 1)
    assert "dana" not in (await web.get("/metrics")).body.decode()


async def test_strange_methods_and_paths_make_no_metrics_of_their_own(web: Web) -> None:
    before = await requests(web, "other", "unmatched", "404")
    for method in ("PURGE", "PROPFIND", "SUBSCRIBE"):
        await web.get(f"/nothing/{method}", method)
    assert await requests(web, "other", "unmatched", "404") == before + 3


async def test_metrics_say_which_server_answers(web: Web) -> None:
    await web.get("/api/overview")
    found = await samples(web)
    assert [found["streamproc_dependency_up", (("dependency", name),)] for name in ("redis", "mongodb")] == [1.0, 1.0]


async def test_metrics_of_workers_are_not_repeated(web: Web) -> None:
    names = {name for name, _ in await samples(web)}
    assert not [name for name in names if "ledger" in name or "lag" in name or "events" in name]


async def test_alive_and_ready(web: Web) -> None:
    assert (await web.get("/healthz")).data == {"status": "alive"}
    await web.get("/api/overview")
    assert (await web.get("/readyz")).data == {"status": "ready"}


async def test_with_one_server_away_it_is_ready_and_says_which_is_missing(another_web: Callable[..., Web]) -> None:
    web = another_web(MONGODB_URL="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200").start()
    await web.get("/api/overview")
    reply = await web.get("/readyz")
    (trouble,) = reply.data["trouble"]
    assert (reply.status, reply.data["status"]) == (200, "ready")
    assert trouble.startswith("mongodb at mongodb://127.0.0.1:1: ")


async def test_with_both_away_it_is_not_ready(another_web: Callable[..., Web]) -> None:
    away = {"MONGODB_URL": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200", "REDIS_URL": "redis://127.0.0.1:1"}
    web = another_web(**away).start()
    seen = (await web.get("/api/overview")).data
    assert (seen["verdict"], seen["redis"]["up"], seen["mongodb"]["up"]) == ("down", False, False)
    reply = await web.get("/readyz")
    assert (reply.status, len(reply.data["trouble"])) == (503, 2)
    assert (await web.get("/healthz")).status == 200


async def test_the_page_is_sent_once_and_then_found_unchanged(web: Web) -> None:
    page = await web.get("/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.body == (await web.get("/assets/index.html")).body
    again = await web.get("/", If_None_Match=page.headers["ETag"])
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", page.headers["ETag"])
    assert (await web.get("/", If_None_Match='"another"')).status == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2fapplication.py", "%2e%2e/application.py", "../application.py"])
async def test_no_other_file_is_served(web: Web, name: str) -> None:
    assert (await web.get(f"/assets/{name}")).status == 404
