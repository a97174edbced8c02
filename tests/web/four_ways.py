"""The same question from Python, over HTTP, on the command line and on the dashboard, at the same time."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import msgspec
from playwright.async_api import Page
from pods import Pods

from streamproc import DubbingMetricsService
from streamproc.answers.results import Answer

from .serving import Web

Row = dict[str, Any]

#: The rows of a table of the dashboard, the newest first: their cells, the header of the row among them.
_SHOWN: Final = """
(room) => [...document.querySelectorAll(`${room} tbody tr`)].map((row) =>
  [...row.querySelectorAll("th, td")].map((one) => one.textContent))
"""
#: What the page says of the figures of an hour or day, and of a segment.
_SAID: Final = """
async (rows) => {
  const { count, milliseconds, percent } = await import("/assets/format.js");
  const ofMany = (row) => [
    ...[row.segments, row.sessions, row.errors].map(count), percent(row.error_rate),
    ...[row.avg_total_ms, row.p50_total_ms, row.p95_total_ms, row.p99_total_ms].map(milliseconds)];
  const ofOne = (row) => [
    row.error === null ? "✓ dubbed" : `✕ ${row.error}`, milliseconds(row.total_ms), row.session_id, row.segment_id];
  return rows.map((row) => ("segment_id" in row ? ofOne(row) : ofMany(row)));
}
"""
_MOST_TIMES: Final = 10
_ROOMS: Final = {"hours": "#channel-hours", "days": "#channel-days", "segments": "#segments"}


async def _complete(name: str, ask: Callable[[], Awaitable[Any]]) -> list[Row]:
    """The rows of an answer from which nothing is missing: on a laden machine a server may not answer in time."""
    for _ in range(_MOST_TIMES):
        answer = await ask()
        if answer is not None and answer["missing"] == []:
            rows: list[Row] = answer[name]
            return rows
    raise AssertionError(f"no complete answer: {answer}")


class Seen:
    """The rows of one answer, of each way of asking, without their state; and the states."""

    def __init__(self, ways: dict[str, list[Row]]) -> None:
        self.states = {way: [str(row.pop("state", "")) for row in rows] for way, rows in ways.items()}
        self.rows = next(iter(ways.values()))
        assert all(rows == self.rows for rows in ways.values()), json.dumps(ways, indent=1)

    @property
    def final(self) -> bool:
        """Whether all say that it is stored."""
        return all(state == "final" for states in self.states.values() for state in states)


class FourWays:
    """Asks one system about one channel, one user and one session; the dashboard is a page of a browser."""

    def __init__(self, system: Pods, web: Web, page: Page, *, channel: str, user: str, session: str) -> None:
        self._system = system
        self._web = web
        self._page = page
        self._service = DubbingMetricsService(system.shard.client, system.database, system.settings)
        self._channel = channel
        self._user = user
        self._session = session

    async def counted(self) -> int:
        """Segments of the channel, from Python alone."""
        return sum(row.segments for row in (await self._service.get_hourly_metrics(self._channel, 1)).hours)

    async def hours(self) -> Seen:
        """The hours of the channel, all four ways."""
        (seen,) = await self._everywhere(["hours"])
        return seen

    async def everything(self) -> list[Seen]:
        """Hours, days and segments of the channel all four ways; the days of the user, and the hours of the session,
        which the dashboard does not show.
        """
        seen, *beyond = await asyncio.gather(
            self._everywhere(["hours", "days", "segments"]),
            self._three_ways(
                "days",
                lambda: self._service.get_user_activity(self._user, 30),
                f"users/{quote(self._user, safe='')}/activity?days=30",
                ["user", self._user, "--days", "30"],
            ),
            self._three_ways(
                "hours",
                lambda: self._service.get_session_hours(self._session),
                f"sessions/{quote(self._session, safe='')}/hours",
                ["hourly", "--session", self._session],
            ),
        )
        return [*seen, *map(Seen, beyond)]

    async def _everywhere(self, names: Sequence[str]) -> list[Seen]:
        shown, found = await asyncio.gather(
            self._on_the_page(names), asyncio.gather(*(self._of_the_channel(name) for name in names))
        )
        return [await self._with_the_page(name, ways, shown[name]) for name, ways in zip(names, found, strict=True)]

    async def _of_the_channel(self, name: str) -> dict[str, list[Row]]:
        asked: dict[str, tuple[Any, str, str, int]] = {
            "hours": (self._service.get_hourly_metrics, "hourly", "hours", 1),
            "days": (self._service.get_daily_trends, "trends", "days", 7),
            "segments": (self._service.get_recent_segments, "segments", "minutes", 5),
        }
        python, word, unit, number = asked[name]
        return await self._three_ways(
            name,
            lambda: python(self._channel, number),
            f"channels/{quote(self._channel, safe='')}/{word}?{unit}={number}",
            [word, self._channel, f"--{unit}", str(number)],
        )

    async def _three_ways(
        self, name: str, python: Callable[[], Awaitable[Answer]], path: str, command: Sequence[str]
    ) -> dict[str, list[Row]]:
        async def from_python() -> Any:
            return msgspec.json.decode(msgspec.json.encode(await python()))

        async def over_http() -> Any:
            reply = await self._web.get(f"/api/{path}")
            return reply.data if reply.status == HTTPStatus.OK else None

        ways: dict[str, Callable[[], Awaitable[Any]]] = {
            "Python": from_python,
            "HTTP": over_http,
            "command line": partial(self._run, *command),
        }
        rows = await asyncio.gather(*(_complete(name, ask) for ask in ways.values()))
        return dict(zip(ways, rows, strict=True))

    async def _run(self, *command: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamproc", *command, "--json"),
            env={**os.environ, **self._system.variables},
            stdout=PIPE,
        )
        printed, _ = await process.communicate()
        return json.loads(printed)

    async def _on_the_page(self, names: Sequence[str]) -> dict[str, list[list[str]]]:
        """Load the page of the channel anew. Returns the cells of each table."""
        await self._page.goto("about:blank")
        await self._page.goto(f"http://127.0.0.1:{self._web.port}/#/channel/{quote(self._channel, safe='')}")
        for name in names:
            await self._page.locator(f"{_ROOMS[name]} tbody tr").first.wait_for(state="attached")
        return {name: await self._page.evaluate(_SHOWN, _ROOMS[name]) for name in names}

    async def _with_the_page(self, name: str, ways: dict[str, list[Row]], shown: list[list[str]]) -> Seen:
        """Compare what the page shows with what it would say of the figures of the others."""
        seen = Seen(ways)
        said = await self._page.evaluate(_SAID, seen.rows)
        if name == "segments":  # received, then result, total, session, segment
            assert [cells[1:5] for cells in shown] == said
        else:  # the hour or day, the state, the figures
            assert [cells[2:] for cells in reversed(shown)] == said
            seen.states["dashboard"] = [cells[1] for cells in reversed(shown)]
        return seen
