"""docs/http-api.md: its commands run as they stand, and what they answer is what the page shows.

Figures and words must be the same; times, ids and what depends on the machine must be of the same kind.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from pages import fenced, names, read, section, table
from pods import Pods, until
from web.serving import KEY, TOKEN, Web

from streamproc.app.settings import PREFIX
from streamproc.embedded import EmbeddedServer
from streamproc.web.openapi import ERRORS
from streamproc.web.routes import ROUTES

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = "docs/http-api.md"
#: Hours that are stored at once, since they ended long ago.
HOURS = {
    "WINDOW_SECONDS": "3600",
    "GRACE_SECONDS": "120",
    "LATE_HORIZON_SECONDS": "86400",
    "CLAIM_IDLE_SECONDS": "60",
    "ERASURE_KEY": KEY,
}
_VARIES = re.compile(r"\d{4}-\d\d-\d\d([T ][\d:.]+Z?)?|[0-9a-f]{16,}|[\w.-]*:\d+\S*|\d+-\d+")


def examples() -> list[tuple[str, str, str]]:
    """(command, language of its answer, answer)."""
    blocks = fenced(read(PAGE))
    return [(one, *blocks[at + 1]) for at, (language, one) in enumerate(blocks) if language == "sh"]


def segment(number: int, user: int, **fields: Any) -> dict[str, Any]:
    """Of an hour that ended at least one hour ago."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    return {
        "segment_id": f"segment-{number}",
        "channel_id": "kan-11",
        "session_id": f"session-{user}",
        "user_id": f"user-{user}",
        "received_at": hour + timedelta(minutes=5, seconds=15 * number),
        "extraction_ms": 45,
        "dubbing_ms": 1100 + 10 * number,
        "reinsertion_ms": 55,
        "original_bytes": 2_000_000,
        "dubbed_bytes": 1_900_000,
        "source_language": "he",
        "target_language": "en",
        **fields,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Web]:
    pods = Pods(valkey.url, mongod.url, **HOURS)
    own = {name.removeprefix(PREFIX): value for name, value in pods.variables.items()}
    web = Web({**own, "API_TOKEN": TOKEN})
    try:
        await pods.start()
        pods.publish(segment(1, 1), segment(2, 1, error="no speech found"), segment(3, 2))

        async def counted() -> bool:
            return await pods.counted() == 3

        await until(counted, pods.logs)
        await pods.settle()
        yield web.start()
    finally:
        web.close()
        await pods.close()


async def run(command: str, web: Web, **variables: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command),
        env={**os.environ, "API": f"http://127.0.0.1:{web.port}", "STREAMPROC_API_TOKEN": TOKEN, **variables},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, command
    return output.decode()


async def test_every_command_answers_what_the_page_shows(web: Web) -> None:
    shown = examples()
    assert len(shown) > 10
    erasure_id = ""
    for command, language, answer in shown:
        found = await run(command, web, ERASURE_ID=erasure_id)
        if "$ERASURE_ID" in command:
            found = await _complete(command, web, erasure_id)
        if language == "json":
            _compare(json.loads(answer), json.loads(found), command)
            erasure_id = json.loads(found).get("erasure_id", erasure_id)
        else:
            pairs = zip(*(list(csv.reader(io.StringIO(text))) for text in (answer, found)), strict=True)
            for documented, real in pairs:
                _compare(documented, real, command)


async def _complete(command: str, web: Web, erasure_id: str) -> str:
    found = ""

    async def is_complete() -> bool:
        nonlocal found
        found = await run(command, web, ERASURE_ID=erasure_id)
        return bool(json.loads(found)["state"] == "complete")

    await until(is_complete, lambda: found)
    return found


def _compare(documented: Any, real: Any, where: str) -> None:
    """Fails where they differ in more than what varies."""
    overview = "/api/overview" in where
    if isinstance(documented, dict) and isinstance(real, dict):
        assert documented.keys() == real.keys(), where
        for name, value in documented.items():
            _compare(value, real[name], f"{where} {name}")
    elif isinstance(documented, list) and isinstance(real, list):
        assert overview or len(documented) == len(real), f"{where}: {real}"
        for one, other in zip(documented, real, strict=False):
            _compare(one, other, where)
    elif overview:
        assert None in (documented, real) or isinstance(documented, str) == isinstance(real, str), where
    elif isinstance(documented, str) and isinstance(real, str):
        assert _VARIES.sub("~", documented) == _VARIES.sub("~", real), where
    else:
        assert documented == real, where


async def test_every_endpoint_is_listed_with_its_limits() -> None:
    rows = {row[0].strip("`"): row[1] for row in table(section(PAGE, "Questions"))}
    listed = {re.sub(r"{\w+}", "{id}", f"{route.method} {route.path}"): route for route in ROUTES}
    assert rows.keys() == listed.keys()
    for name, route in listed.items():
        fields = msgspec.structs.fields(route.parameters)
        assert {one.name for one in fields} == set(re.findall(r"`(\w+)`", rows[name])), name
        for one in fields:
            schema = msgspec.json.schema(one.type)
            if "minimum" in schema:
                words = f"`{one.name}` {one.default} ({schema['minimum']} to {schema['maximum']})"
                assert words in rows[name], name


async def test_every_status_is_listed() -> None:
    assert {int(status) for status in names(PAGE, "Errors")} == {int(status) for status in ERRORS} | {405}
