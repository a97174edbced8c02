"""The dashboard as a person sees it, in a real browser, beside what the API answers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from playwright.async_api import Browser, Locator, Page, expect
from pods import Pods, until

from streamproc.embedded import EmbeddedServer, start_valkey

from .browser import PATIENCE_MS, contrasts, opened
from .conftest import System, segment
from .serving import TOKEN, Web

pytestmark = pytest.mark.asyncio(loop_scope="session")
expect.set_options(timeout=PATIENCE_MS)

#: As in the tests of the API: with everything that an address has a meaning for.
CHANNEL = "sport/5?a=1&b={x}%2F #;..+é"


def url(web: Web, page: str = "") -> str:
    return f"http://127.0.0.1:{web.port}/{page}"


def spaced(number: int) -> str:
    """As the page says a count."""
    return f"{number:,}".replace(",", "\u202f")


def row(page: Page, room: str, header: str) -> Locator:
    """A row of a table by its header."""
    return page.locator(f"{room} tbody tr").filter(has=page.get_by_role("rowheader", name=header, exact=True))


async def publish(system: System, channel: str) -> None:
    """Two good segments of now, and one with an error."""
    before = await system.pods.counted()
    name = datetime.now(UTC).isoformat()
    system.pods.publish(*(segment(f"{name}-{number}", channel) for number in range(2)))
    system.pods.publish(segment(f"{name}-2", channel, error="no speech found"))

    async def counted() -> bool:
        return await system.pods.counted() == before + 3

    await until(counted, system.pods.logs)


async def test_a_healthy_system_says_so_with_the_numbers_of_the_api(
    system: System, open_web: Web, browser: Browser
) -> None:
    await publish(system, CHANNEL)
    await system.pods.settle()
    async with opened(browser, url(open_web)) as page:
        await expect(page.locator("#verdict")).to_have_attribute("data-verdict", "healthy")
        await expect(page.get_by_role("status")).to_contain_text("Healthy")
        await expect(page.locator("#facts")).to_contain_text("1 of 1 worker ready")
        seen: dict[str, Any] = (await open_web.get("/api/overview")).data
        ledger = seen["shards"][0]["ledger"]
        for header, number in (("added to the stream", ledger["entries_added"]), ("counted", ledger["counted"])):
            await expect(row(page, "#ledger", header).locator("td")).to_have_text(spaced(number))
        await expect(page.locator("#ledger")).to_contain_text("✓ balances")
        stored = (await open_web.get("/api/hours?limit=12")).data["hours"]
        await expect(page.locator("#hours tbody tr")).to_have_count(len(stored))
        newest = page.locator("#hours tbody tr").first.locator("td")
        await expect(newest.nth(0)).to_have_text(stored[0]["state"])
        await expect(newest.nth(1)).to_have_text(spaced(stored[0]["segments"]))
        worker = seen["workers"][0]
        await expect(row(page, "#workers", worker["name"]).locator("td").nth(3)).to_have_text(spaced(worker["counted"]))


async def test_a_channel_shows_its_hours_and_its_segments_with_the_error_marked(
    system: System, open_web: Web, browser: Browser
) -> None:
    channel = f"{CHANNEL} {uuid4().hex[:8]}"
    path = f"/api/channels/{quote(channel, safe='')}"
    await publish(system, channel)
    await system.pods.settle()
    async with opened(browser, url(open_web)) as page:
        await page.locator("#channels").get_by_role("link", name=channel, exact=True).click()
        await expect(page.get_by_role("heading", name=f"Channel {channel}")).to_be_visible()
        assert page.url == url(open_web, f"#/channel/{quote(channel, safe='')}")
        asked = (await open_web.get(f"{path}/segments")).data["segments"]
        await expect(page.locator("#segments tbody tr")).to_have_count(len(asked))
        assert len(asked) == 3
        await expect(page.locator("#segments tr.failed")).to_have_count(1)
        await expect(page.locator("#segments tr.failed")).to_contain_text("✕ no speech found")
        await page.get_by_label("with an error only").check()
        await expect(page.locator("#segments tbody tr")).to_have_count(1)
        assert await page.locator("#channel-hours .plot rect:is(.bar-final, .bar-rolling, .bar-revised)").count() > 0
        await page.locator("#channel-days summary").click()
        async with page.expect_response("**/api/overview"):
            pass  # what is unfolded stays so when new figures come
        days = (await open_web.get(f"{path}/trends")).data["days"]
        shown = row(page, "#channel-days", days[-1]["day"]).locator("td")
        await expect(shown.nth(1)).to_have_text(spaced(days[-1]["segments"]))
        await page.reload()
        await expect(page.get_by_role("heading", name=f"Channel {channel}")).to_be_visible()


async def test_a_killed_redis_turns_the_verdict_and_greys_what_was_known(
    mongod: EmbeddedServer, web_of: Callable[..., Web], browser: Browser
) -> None:
    with start_valkey() as valkey:
        pods = Pods(valkey.url, mongod.url)
        try:
            await pods.start()
            pods.publish(segment("1"))
            await pods.settle()
            web = web_of(pods)
            async with opened(browser, url(web)) as page:
                await expect(page.locator("#verdict")).to_have_attribute("data-verdict", "healthy")
                counted = row(page, "#ledger", "counted").locator("td")
                await expect(counted).to_have_text("1")
                os.kill(valkey.pid, signal.SIGKILL)
                await expect(page.get_by_role("status")).to_contain_text("Down")
                await expect(page.locator("#troubles")).to_contain_text("Start Redis")
                await expect(page.locator("#facts")).to_contain_text("Last values")
                await expect(page.locator("#ledger")).to_have_class("some-room stale")
                await expect(counted).to_have_text("1")
                web.end(signal.SIGKILL)
                await expect(page.get_by_role("status")).to_contain_text("Unknown")
                await expect(page.get_by_role("alert").first).to_contain_text("does not answer")
        finally:
            await pods.close()


async def test_the_token_is_asked_for_kept_for_the_tab_and_sent_as_a_header(web: Web, browser: Browser) -> None:
    async with opened(browser, url(web)) as page:
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url))
        field = page.get_by_label("Token", exact=True)
        await field.fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("does not accept that token")
        await field.fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_contain_text("Healthy")
        await page.reload()
        await expect(page.get_by_role("status")).to_contain_text("Healthy")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        assert await page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        assert sent
        assert not [one for one in sent if TOKEN in one]


async def test_a_server_that_may_not_answer_says_what_to_set(another_web: Callable[..., Web], browser: Browser) -> None:
    web = another_web(WEB_HOST="0.0.0.0").start()
    async with opened(browser, url(web)) as page:
        await expect(page.get_by_role("alert").first).to_contain_text("STREAMPROC_API_TOKEN")
        await expect(page.get_by_role("status")).to_contain_text("Unknown")


async def test_an_empty_system_says_what_to_do_first(
    valkey: EmbeddedServer, mongod: EmbeddedServer, web_of: Callable[..., Web], browser: Browser
) -> None:
    pods = Pods(valkey.url, mongod.url)
    try:
        await pods.start()
        async with opened(browser, url(web_of(pods))) as page:
            await expect(page.get_by_role("heading", name="No segments yet")).to_be_visible()
            await expect(page.locator("#first-steps")).to_contain_text("streamproc publish")
            pods.publish(segment("1"))
            await expect(page.locator("#first-steps")).to_be_hidden()
            await expect(row(page, "#ledger", "counted").locator("td")).to_have_text("1")
    finally:
        await pods.close()


async def test_light_or_dark_is_the_systems_until_chosen_and_both_can_be_read(open_web: Web, browser: Browser) -> None:
    async with opened(browser, url(open_web), color_scheme="dark") as page:
        root = page.locator("html")
        for theme, presses in (("dark", 0), ("light", 1)):
            for _ in range(presses):
                await page.get_by_role("button", name="Theme").click()
            await expect(root).to_have_attribute("data-theme", theme)
            await expect(page.locator("#hours tbody tr").first).to_be_visible()
            assert [found for found in await contrasts(page) if found[0] < 4.5] == [], theme
        await page.reload()
        await expect(root).to_have_attribute("data-theme", "light")


@pytest.mark.parametrize("width", [360, 1280, 1920])
async def test_no_width_makes_the_page_scroll_sideways(
    system: System, open_web: Web, browser: Browser, width: int
) -> None:
    await publish(system, CHANNEL)
    for address in ("", f"#/channel/{quote(CHANNEL, safe='')}"):
        async with opened(browser, url(open_web, address), viewport={"width": width, "height": 800}) as page:
            await expect(page.locator("#segments table, #channels table").locator("visible=true")).to_have_count(1)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_terms_and_the_numbers_of_a_plot_are_reached_by_the_keyboard(open_web: Web, browser: Browser) -> None:
    async with opened(browser, url(open_web)) as page:
        tip = page.get_by_role("tooltip")
        await page.locator(".term", has_text="Watermark behind").focus()
        await expect(tip).to_contain_text("Everything added before it is counted")
        await page.keyboard.press("Escape")
        await expect(tip).to_be_hidden()
        await expect(page.locator("#throughput .hit").nth(1)).to_be_attached()
        await page.locator("#throughput svg").focus()
        await page.keyboard.press("ArrowLeft")
        await expect(tip).to_contain_text("counted")
