"""One system for all tests of HTTP: a worker, segments that it counted and stored, and web processes beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from pods import Pods, until

from streamproc.app.settings import PREFIX
from streamproc.embedded import EmbeddedServer, start_valkey

from .browser import chromium
from .serving import KEY, TOKEN, Web

#: An id with everything in it that a path has a meaning for; the formula of a spreadsheet; and another script.
ODD_CHANNEL = "news/24?a=1&b={x}%2F #;..+é"
FORMULA_CHANNEL = "=1+2"
HEBREW_CHANNEL = "ערוץ-12"


def segment(name: str, channel: str = "kan-11", **fields: Any) -> dict[str, Any]:
    """A well-formed segment of this moment."""
    return {
        "segment_id": name,
        "channel_id": channel,
        "session_id": f"s-{channel}"[:128],
        "user_id": "dana/1",
        "received_at": datetime.now(UTC),
        "extraction_ms": 45.25,
        "dubbing_ms": 1100.5,
        "reinsertion_ms": 55,
        "original_bytes": 1000,
        "dubbed_bytes": 900,
        "source_language": "he",
        "target_language": "en",
        **fields,
    }


class System:
    """The pods, and web processes with their settings."""

    def __init__(self, pods: Pods) -> None:
        self.pods = pods
        self._webs: list[Web] = []

    def web(self, **settings: str) -> Web:
        """A web process that is not started yet."""
        own = {name.removeprefix(PREFIX): value for name, value in self.pods.variables.items()}
        web = Web({**own, **settings})
        self._webs.append(web)
        return web

    def close(self) -> None:
        for web in self._webs:
            web.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(mongod: EmbeddedServer) -> AsyncIterator[System]:
    """Three segments of kan-11 are stored, one of them with an error, and one of each channel with an odd name.

    On a Redis of its own: it lives until the last test, and others empty theirs.
    """
    with start_valkey() as own:
        async for made in _system(own.url, mongod.url):
            yield made


async def _system(redis_url: str, mongodb_url: str) -> AsyncIterator[System]:
    pods = Pods(redis_url, mongodb_url, ERASURE_KEY=KEY)
    system = System(pods)
    try:
        await pods.start()
        now = datetime.now(UTC)
        pods.publish(
            segment("1", received_at=now),
            segment("2", received_at=now, retry_count=2),
            segment("3", received_at=now, error="no speech found"),
        )
        pods.publish(*(segment("1", channel) for channel in (ODD_CHANNEL, FORMULA_CHANNEL, HEBREW_CHANNEL)))

        async def counted() -> bool:
            return await pods.counted() == 6

        await until(counted, pods.logs)
        await pods.settle()
        yield system
    finally:
        system.close()
        await pods.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def web(system: System) -> Web:
    """A web process with a token, which erases too."""
    return system.web(API_TOKEN=TOKEN).start()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def open_web(system: System) -> Web:
    """A web process without a token."""
    return system.web().start()


@pytest.fixture
def another_web(system: System) -> Iterator[Callable[..., Web]]:
    """Makes web processes of a test's own."""
    made: list[Web] = []

    def make(**settings: str) -> Web:
        made.append(system.web(**settings))
        return made[-1]

    yield make
    for web in made:
        web.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made


@pytest.fixture
def web_of(another_web: Callable[..., Web]) -> Callable[..., Web]:
    """A started web process of other pods than the session's."""

    def make(pods: Pods, **settings: str) -> Web:
        own = {name.removeprefix(PREFIX): value for name, value in pods.variables.items()}
        return another_web(**{**own, **settings}).start()

    return make
