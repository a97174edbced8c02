"""A headless Chromium that looks at the dashboard, and whatever it had to complain about."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, async_playwright

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_MS: Final = 20_000

_HEAR_OF_VIOLATIONS: Final = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`violates the policy: ${event.violatedDirective} ${event.blockedURI}`));
"""
_CONTRASTS: Final = """
() => {
  const channels = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const luminance = ([r, g, b]) =>
    [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = channels(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("body *")].filter((one) => own(one) && one.checkVisibility()).map((one) => {
    const style = getComputedStyle(one);
    const text = channels(one instanceof SVGElement ? style.fill : style.color);
    const [high, low] = [luminance(text), luminance(ground(one))].sort((a, b) => b - a);
    return [(high + 0.05) / (low + 0.05), one.textContent.trim().slice(0, 40)];
  });
}
"""
# What a browser itself says of an answer that is no 200; the page says it in its own words.
_OF_AN_ANSWER: Final = "Failed to load resource"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The system's Chromium. Raises RuntimeError with the remedy where there is none."""
    if CHROMIUM is None:
        raise RuntimeError("no chromium on PATH: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Watch:
    """What a page asked for, and what went wrong in it."""

    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def on(self, page: Page) -> None:
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"} and _OF_AN_ANSWER not in message.text:
            self.complaints.append(message.text)

    @property
    def origins(self) -> set[str]:
        return {"{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in self.requested}


@asynccontextmanager
async def opened(browser: Browser, url: str, **options: Any) -> AsyncIterator[Page]:
    """A page of its own. Fails when it ends, if the page complained, or asked anybody but its own server."""
    context = await browser.new_context(**options)
    await context.add_init_script(_HEAR_OF_VIOLATIONS)
    page, watch = await context.new_page(), Watch()
    page.set_default_timeout(PATIENCE_MS)
    watch.on(page)
    try:
        await page.goto(url)
        yield page
    finally:
        await context.close()
    assert watch.complaints == []
    assert watch.origins == {"{0.scheme}://{0.netloc}".format(urlsplit(url))}


async def contrasts(page: Page) -> list[tuple[float, str]]:
    """The contrast of every text that is shown with the colour behind it (WCAG 2, 1.4.3), and its beginning."""
    return [(contrast, text) for contrast, text in await page.evaluate(_CONTRASTS)]
