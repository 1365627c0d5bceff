"""The pages for all eyes, hands and programs: contrast, narrow screens, labels, keys. In Chromium, in both colours."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from lumper.forges.all import open_forges
from lumper.forges.rules import decide
from lumper.model import events
from lumper.model.builds.build import BuildState, Output, Step, StepState
from lumper.model.images.rules import Keep, Rule
from lumper.roles.receiver import HistoryReceiver
from parts.git import deliveries
from parts.registries.page_images import BY, program
from parts.web.live_pages import step_lines
from parts.web.sight import Sight, sighted

LONG = (
    "https://git.example.org/a-group-with-a-long-name/and-a-subgroup/and-a-project-with-a-name-that-is-no-shorter.git"
)
LONG_NAME = "acme/" + "other" * 20
EVERY_PAGE = (
    *("/", "/builds/1", "/builds/2", "/builds/3", "/builds/4", "/builds/5", "/builds/6"),
    *("/deliveries", "/deliveries/1", "/projects", "/projects/acme/shop", "/images", "/services", "/access", "/mail"),
    *("/me", "/audit", "/builds/99999", "/none"),
    *("/images/acme/shop", "/images/acme/shop:latest", "/images/acme/shop:1.0", "/images/acme/shop/-/history"),
    *("/images/acme/shop/-/history?tag=latest", "/images/acme/shop/-/compare?a=1.0&b=latest", "/images?q=none"),
    *("/images/acme/shop/-/compare?a=none&b=1.0", "/images/acme/shop:1.0/-/tag?tag=latest"),
    *("/images/acme/shop:1.0/-/delete", "/images/acme/shop:latest/-/delete", "/images/acme/shop/-/rules?preview=1"),
    f"/images/{LONG_NAME}/-/delete",
    *("/rules", "/images?by=size", "/images/acme/shop?by=pulled"),
)
LOOK = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const part = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r / 255) + 0.7152 * part(g / 255) + 0.0722 * part(b / 255);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = rgb(getComputedStyle(element).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const faint = new Set(), nameless = [];
  let words = 0;
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join(' ').trim();
    if (!text || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), pair = [light(rgb(style.color)), light(behind(element))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    words += 1;
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) {
      faint.add(`${element.localName}.${element.className} ${ratio.toFixed(2)} ${text.slice(0, 30)}`);
    }
  }
  const used = 'input:not([type=hidden], [hidden]), select, textarea, button, a[href]';
  for (const element of document.querySelectorAll(used)) {
    const label = element.labels && element.labels[0];
    const name = element.getAttribute('aria-label') || (label && label.textContent) || element.textContent;
    if (!name.trim()) nameless.push(element.outerHTML.slice(0, 90));
  }
  const tooWide = document.documentElement.scrollWidth - window.innerWidth;
  const heads = document.querySelectorAll('h1').length, mains = document.querySelectorAll('main').length;
  return { words, faint: [...faint], nameless, tooWide: Math.max(0, tooWide), heads, mains };
}"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sight(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sight]:
    async with sighted(tmp_path_factory.mktemp("everybody")) as sight:
        await fill(sight)
        yield sight


async def fill(sight: Sight) -> None:
    """A build in every state, one of them with a log in all colours; one that waits; deliveries with all verdicts."""
    live, now = sight.live, time.time()
    shop, other = await live.project(), await live.project(LONG)
    await live.history.builds.online(events.WorkerOnline("builder-1", "boot", 2))
    for number, state in enumerate(
        (BuildState.SUCCEEDED, BuildState.FAILED, BuildState.CANCELLED, BuildState.SKIPPED), 1
    ):
        build_id = await live.running(shop, f"v1.0.{number}", f"{number:040x}")
        await live.say(build_id, step_lines(0, "checkout", ["commit 3f6c"]))
        error = "" if state is BuildState.SUCCEEDED else "RUN make ended with exit code 2. See `lumper log 2`."
        await live.ended(build_id, state, error=error)
    running = await live.running(other, "v2.0.0-rc.1+build.2026")
    colours = [f"\x1b[{kind}{n}mword\x1b[0m" for kind in ("3", "4", "9", "10", "7;3", "7;9") for n in range(8)]
    lines = [Output(1, 1, now, " ".join(colours)), Output(1, 2, now, "no end " * 90)]
    await live.say(
        running, [Step(0, "FROM base", StepState.CACHED, now), Step(1, "RUN", StepState.RUNNING, now), *lines]
    )
    await live.queued(shop, "v3.0.0", "3" * 40)
    await live.queued(shop, "v3.0.1", "4" * 40)
    await deliver(sight, shop)
    await push(sight)


async def push(sight: Sight) -> None:
    """An image that moved and is signed, and one that may not move."""
    await sight.live.put(LONG_NAME).image("latest")
    put = sight.live.put("acme/shop")
    await put.image("1.0", "latest")
    digest = await put.image("latest", layer=b"newer", config=program(Env=["MODE=loud", "MORE=" + "w" * 300]))
    await put.referrer(digest, "application/vnd.dev.cosign.artifact.sig.v1+json", {"key" * 40: "value" * 40})
    await sight.live.registry.metadata.set_rule(
        Rule("acme/*", immutable=("1.*",), keep=Keep(last=1), quota=1 << 30), BY
    )


async def deliver(sight: Sight, project: Any) -> None:
    receiver, github = HistoryReceiver(sight.live.history), open_forges().get("github")
    repository = {"full_name": project.repository}
    for ref in ("refs/tags/v9", "refs/tags/v9", "refs/heads/main", "refs/tags/a..b"):
        request = deliveries.fixture("github/push_lightweight_tag", ref=ref, repository=repository)
        parsed = github.parse(request)
        await receiver.accept(project, "github", request, parsed, decide(parsed, project))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_words_are_read_everything_has_a_name_and_nothing_is_too_wide(
    sight: Sight, scheme: Any, width: int
) -> None:
    await sight.page.emulate_media(color_scheme=scheme)
    await sight.page.set_viewport_size({"width": width, "height": 800})
    for path in EVERY_PAGE:
        await sight.go(path)
        if path == "/builds/5":
            await expect(sight.step(1).locator(".l")).to_have_count(2)
        seen = await sight.page.evaluate(LOOK)
        assert seen.pop("words") > 8
        assert seen == {"faint": [], "nameless": [], "tooWide": 0, "heads": 1, "mains": 1}, path


async def test_why_a_build_waits_stands_in_every_list(sight: Sight) -> None:
    for path in ("/", "/projects/acme/shop"):
        await sight.live.history.builds.online(events.WorkerOnline("builder-1", "boot", 2, at=datetime.now(UTC)))
        await sight.go(path)
        await expect(sight.page.locator("#build-6 .why")).to_have_text("given to builder-1")
        await expect(sight.page.locator("#build-7 .why")).to_have_text(
            "1. in the queue: all workers that could take it are busy"
        )


async def test_the_keyboard_alone_is_enough_for_a_list_and_a_log(sight: Sight) -> None:
    page = sight.page
    await sight.go("/")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("j")
    await expect(page.locator(":focus")).to_have_attribute("href", "/builds/8")
    await sight.go("/builds/5")
    step = sight.step(1).locator("button").first
    await step.focus()
    outline = await step.evaluate("(element) => getComputedStyle(element).outlineStyle")
    assert outline != "none"
    await expect(step).to_have_attribute("aria-expanded", "true")
    await page.keyboard.press("Enter")
    await expect(step).to_have_attribute("aria-expanded", "false")
