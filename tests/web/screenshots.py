"""``python -m tests.web.screenshots``: the pictures of docs/dashboard.md, from a real system with a week behind it.

Takes some six minutes, for the plots of the last ten minutes to have something to show.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import quote

from playwright.async_api import Browser, expect

from .browser import chromium
from .scene import CHANNELS, Scene, scene

FOLDER: Final = Path(__file__).parents[2] / "docs" / "images"
_RATE: Final = 12.0
_DRAWN_MS: Final = 4000  # every question has its answer
_ODD: Final = ('{"segment_id": "17", "channel_id": "kan-11"}', "not JSON")


async def main(seconds: float) -> None:
    async with scene() as made, chromium() as browser:
        live = asyncio.create_task(made.live(seconds + 60, _RATE))
        await made.refuse(*_ODD)
        await _watch(made, seconds)
        await made.late(CHANNELS[0])
        await _picture(browser, f"{made.web.url}#/channel/{quote(CHANNELS[0])}", "dashboard-channel.png", height=1420)
        await _picture(browser, made.web.url, "dashboard.png", height=1640)
        live.cancel()


async def _watch(made: Scene, seconds: float) -> None:
    """Let time pass with a page open, so that the server looks every two seconds."""
    async with chromium() as browser:
        page = await browser.new_page()
        await page.goto(made.web.url)
        await asyncio.sleep(seconds)


async def _picture(browser: Browser, url: str, name: str, *, height: int) -> None:
    page = await browser.new_page(viewport={"width": 1200, "height": height}, color_scheme="light")
    await page.goto(url)
    await expect(page.locator("svg.plot rect").locator("visible=true").first).to_be_attached()
    await page.wait_for_timeout(_DRAWN_MS)
    FOLDER.mkdir(exist_ok=True)
    await page.screenshot(path=FOLDER / name)
    await page.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=330, help="how long to publish before the pictures")
    asyncio.run(main(arguments.parse_args().seconds))
