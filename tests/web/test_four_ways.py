"""Python, HTTP, command line and dashboard tell the same numbers, whatever happens to a window meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from playwright.async_api import Browser
from pods import Pods, pods, until

from streamproc.demo.simulation import Shares
from streamproc.embedded import EmbeddedServer

from .browser import opened
from .conftest import segment
from .four_ways import FourWays, Seen
from .serving import Web

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

CHANNEL = "quiet/7 #é"
USER = "dana/1"
SESSIONS = ("s-1", "s-2")
#: Long enough to ask before a window closes, and again before a late event of it is stored.
_SETTINGS = {"WINDOW_SECONDS": "6", "GRACE_SECONDS": "1", "LATE_QUIET_SECONDS": "4"}
_MOST_LOOKS = 30
#: Segments of the channel that are not of the first session.
_ELSEWHERE = 7


async def test_every_question_has_the_same_numbers_in_every_way_of_asking_while_a_demo_runs(
    valkey: EmbeddedServer, mongod: EmbeddedServer, web_of: Callable[..., Web], browser: Browser
) -> None:
    async with pods(valkey.url, mongod.url, **_SETTINGS) as system:
        await asyncio.gather(system.start(), system.start())
        web = web_of(system)
        async with (
            system.load(100.0, shares=Shares(late=0.1, duplicate=0.1)),
            opened(browser, f"http://127.0.0.1:{web.port}/") as page,
        ):
            ways = FourWays(system, web, page, channel=CHANNEL, user=USER, session=SESSIONS[0])
            at = await _beginning_of_a_window(system)
            times = [(session, 1000 + 97.3 * number) for session in SESSIONS for number in range(7)]
            system.publish(
                *(_segment(f"segment-{ms}", at, session_id=session, dubbing_ms=ms) for session, ms in times),
                _segment("failed", at, error="no speech found"),
            )
            rolling = await _through_a_flush(ways, segments=15, state="rolling")
            system.publish(_segment("late", at, dubbing_ms=9000))
            revised = await _through_a_flush(ways, segments=16, state="revised")
        await system.assert_exact()
    assert (rolling.rows[0]["max_total_ms"], revised.rows[0]["max_total_ms"]) == (1684.05, 9100.25)


async def _through_a_flush(ways: FourWays, *, segments: int, state: str) -> Seen:
    """From when they are counted until they are stored, however often anybody asks: the same numbers."""

    async def counted() -> bool:
        return await ways.counted() == segments

    await until(counted)
    looks = [await ways.hours()]
    before = await ways.everything()
    while not looks[-1].final:
        assert len(looks) < _MOST_LOOKS
        looks.append(await ways.hours())
    assert [one.rows for one in looks] == [looks[0].rows] * len(looks)
    for way in looks[0].states:
        told = [look.states[way][0] for look in looks]
        assert told == sorted(told, key=[state, "final"].index), f"{way}: {told}"
    assert looks[0].states["Python"] == [state], "the test must ask before the flush"
    after = await ways.everything()
    assert [one.rows for one in after] == [one.rows for one in before]
    hours, days, recent, of_user, of_session = after
    assert hours.rows == looks[0].rows
    assert [row["segments"] for one in (hours, days, of_user) for row in one.rows] == [segments] * 3
    assert len(recent.rows) == segments
    assert sum(row["segments"] for row in of_session.rows) == segments - _ELSEWHERE
    return hours


def _segment(name: str, at: datetime, **fields: object) -> dict[str, object]:
    return segment(name, CHANNEL, **{"session_id": SESSIONS[0], "user_id": USER, "received_at": at, **fields})


async def _beginning_of_a_window(system: Pods) -> datetime:
    window_s = system.settings.window_seconds
    await asyncio.sleep(window_s - time.time() % window_s)
    return datetime.now(UTC)
