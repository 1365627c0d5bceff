"""The pages as a person sees them: in a real browser, which tells of everything that it complains of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright, expect

from parts.suite.eventually import LONGEST
from parts.web.live_pages import PASSWORD, LivePages, live_pages

_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@dataclass
class Sight:
    """A page and everything that the browser complained of."""

    live: LivePages
    page: Page
    complaints: list[str] = field(default_factory=list)

    async def go(self, path: str) -> None:
        await self.page.goto(self.live.url + path)

    def step(self, number: int) -> Any:
        return self.page.locator(f"#s{number}")


@asynccontextmanager
async def sighted(folder: Path) -> AsyncIterator[Sight]:
    """The pages over a new database, in Chromium, with somebody signed in."""
    async with live_pages(folder) as live, async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_ARGUMENTS)
        context = await chromium.new_context(viewport={"width": 1200, "height": 800}, color_scheme="light")
        await context.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('refused: ' + e.violatedDirective))"
        )
        sight = Sight(live, await context.new_page())
        sight.page.set_default_timeout(1000 * LONGEST)
        expect.set_options(timeout=1000 * LONGEST)
        sight.page.on("console", lambda m: sight.complaints.append(m.text) if m.type in ("error", "warning") else None)
        sight.page.on("pageerror", lambda error: sight.complaints.append(str(error)))
        await sight.go("/login")
        await sight.page.fill("#name", "admin")
        await sight.page.fill("#password", PASSWORD)
        await sight.page.click("text=Sign in >> nth=-1")
        await expect(sight.page.locator("h1")).to_have_text("Builds")
        yield sight
        await chromium.close()
