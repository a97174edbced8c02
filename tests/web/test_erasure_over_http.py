"""Erasing a person over HTTP: asked for, carried on here or by a worker, and told of on the receipt."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from pods import until

from .conftest import System, segment
from .serving import KEY, TOKEN, Web
from .test_answers import encoded

pytestmark = pytest.mark.asyncio(loop_scope="session")
AWAY = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200"


async def publish(system: System, user: str, number: int = 3) -> None:
    """Segments of a person, counted before this returns. No oracle hears of them: they will be gone."""
    before, now = await system.pods.counted(), datetime.now(UTC)
    for name in range(number):
        one = segment(str(name), "erased", session_id=f"s-{user}", user_id=user, received_at=now)
        system.pods.add("data", orjson.dumps(one))

    async def counted() -> bool:
        return await system.pods.counted() == before + number

    await until(counted, system.pods.logs)


async def complete(web: Web, erasure_id: str) -> dict[str, Any]:
    """Its receipt, once it is complete."""
    receipt: dict[str, Any] = {}

    async def is_complete() -> bool:
        receipt.update((await web.get(f"/api/erasures/{erasure_id}")).data)
        return bool(receipt["state"] == "complete")

    await until(is_complete, lambda: f"{receipt}\n{web.log}")
    return receipt


async def test_a_person_is_erased_everywhere_and_the_receipt_tells_what_was_found(web: Web, system: System) -> None:
    user = "erased/ד"
    await publish(system, user)
    reply = await web.get(f"/api/users/{encoded(user)}", "DELETE")
    assert (reply.status, reply.data["state"]) == (202, "under way")
    receipt = await complete(web, reply.data["erasure_id"])
    assert receipt["erasure"] == reply.data["erasure_id"]
    assert receipt["redis_segments_deleted"] == 3
    assert receipt["trouble"] == {}
    activity = (await web.get(f"/api/users/{encoded(user)}/activity")).data
    assert (activity["total"]["segments"], activity["days"]) == (0, [])
    assert user not in orjson.dumps(receipt).decode()


async def test_each_request_has_a_receipt_of_its_own(web: Web) -> None:
    first, second = [await web.get("/api/users/nobody", "DELETE") for _ in range(2)]
    assert first.data["erasure_id"] != second.data["erasure_id"]
    for reply in (first, second):
        receipt = await complete(web, reply.data["erasure_id"])
        assert receipt["redis_segments_deleted"] == receipt["timeseries_docs_deleted"] == 0


async def test_workers_complete_what_a_killed_web_process_began(
    another_web: Callable[..., Web], web: Web, system: System
) -> None:
    await publish(system, "left behind")
    doomed = another_web(API_TOKEN=TOKEN).start()
    erasure_id = (await doomed.get("/api/users/left%20behind", "DELETE")).data["erasure_id"]
    doomed.end(signal.SIGKILL)
    assert (await complete(web, erasure_id))["redis_segments_deleted"] == 3


async def test_it_is_carried_on_without_any_worker(another_web: Callable[..., Web], system: System) -> None:
    web = another_web(API_TOKEN=TOKEN).start()
    for worker in system.pods.workers:
        await worker.stop()
    try:
        erasure_id = (await web.get("/api/users/nobody", "DELETE")).data["erasure_id"]
        assert (await complete(web, erasure_id))["ended_at"]
    finally:
        await system.pods.start()


async def test_an_unknown_receipt_is_not_found(web: Web) -> None:
    reply = await web.get("/api/erasures/0123456789abcdef")
    assert (reply.status, reply.data) == (404, {"error": "there is no erasure of that id"})


async def test_without_a_key_nothing_is_begun_and_the_remedy_named(another_web: Callable[..., Web]) -> None:
    web = another_web(API_TOKEN=TOKEN, ERASURE_KEY="").start()
    reply = await web.get("/api/users/dana%2F1", "DELETE")
    assert reply.status == 503
    assert "STREAMPROC_ERASURE_KEY is not set" in reply.error
    assert (await web.get("/api/erasures/0123456789abcdef")).status == 404


async def test_with_another_key_than_the_workers_nothing_is_begun(another_web: Callable[..., Web]) -> None:
    reply = await another_web(API_TOKEN=TOKEN, ERASURE_KEY=f"not {KEY}").start().get("/api/users/dana%2F1", "DELETE")
    assert reply.status == 503
    assert "another ERASURE_KEY" in reply.error


async def test_with_mongodb_away_it_is_refused_rather_than_promised(another_web: Callable[..., Web]) -> None:
    web = another_web(API_TOKEN=TOKEN, MONGODB_URL=AWAY).start()
    for method, path in (("DELETE", "/api/users/dana%2F1"), ("GET", "/api/erasures/0123456789abcdef")):
        reply = await web.get(path, method)
        assert reply.status == 503
        assert reply.error.startswith("mongodb: ")


async def test_what_is_no_id_is_not_erased(web: Web) -> None:
    assert (await web.get("/api/users/a%00b", "DELETE")).status == 400


async def test_nobody_erased_is_named_in_the_log(web: Web) -> None:
    await asyncio.gather(*(web.get("/api/users/secret-person", "DELETE") for _ in range(3)))
    assert "secret-person" not in web.log
    assert "erasure " in web.log
