"""The pages in a real browser: what a person sees while a build runs, and that nothing is refused or goes wrong."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from lumper.model.builds.build import BuildState, Output, Step, StepState
from lumper.model.events import WorkerOnline
from parts.registries.page_images import program
from parts.web.live_pages import step_lines
from parts.web.sight import Sight, sighted

HOSTILE = "<script>window.owned = 1</script><img src=x onerror='window.owned = 1'>"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sight(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sight]:
    async with sighted(tmp_path_factory.mktemp("pages")) as sight:
        yield sight


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def no_complaints(sight: Sight) -> Any:
    sight.complaints.clear()
    yield
    assert sight.complaints == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def project(sight: Sight) -> Any:
    return await sight.live.project()


async def test_a_build_is_watched_from_the_queue_to_its_end(sight: Sight, project: Any) -> None:
    live, page = sight.live, sight.page
    await sight.go("/")
    build_id = await live.queued(project, "v3.0.0")
    row = page.locator(f"#build-{build_id}")
    await expect(row.locator(".state")).to_have_text("queued")
    await row.locator("a.row").click()
    await expect(page.locator("h1")).to_have_text("acme/shop v3.0.0")
    await expect(page.locator("[data-count]")).to_have_text("waiting for a worker")

    await live.taken(build_id)
    state = page.locator("#build .head .state")
    await expect(state).to_have_text("running")
    now = time.time()
    await live.say(
        build_id,
        [*step_lines(0, "checkout v3.0.0", ["commit 3f6c"]), *step_lines(1, "FROM base", [], StepState.CACHED)],
    )
    await live.say(
        build_id, [Step(2, f"RUN make {HOSTILE}", StepState.RUNNING, now), Output(2, 1, now, f"one {HOSTILE}")]
    )
    make = sight.step(2)
    await expect(make.locator(".l")).to_have_count(1)
    await expect(make.locator(".l")).to_have_text(f"one {HOSTILE}")
    await expect(make.locator(".name")).to_have_text(f"RUN make {HOSTILE}")
    await expect(sight.step(1).locator(".badge")).to_have_text("cached")
    await live.say(
        build_id,
        [Output(2, 2, now, "\x1b[31;1mred\x1b[0m and \x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07 \x1b[2Jend")],
    )
    second = make.locator(".l").nth(1)
    await expect(second).to_have_text("red and link end")
    assert await second.locator("span").get_attribute("class") == "f1 b"
    assert await second.locator("a").count() == 0

    await live.say(build_id, [Output(2, 1, now, f"line {i}") for i in range(300)])
    await live.say(build_id, [Step(2, "RUN make", StepState.FAILED, now + 2, "exit code: 2")])
    await live.ended(build_id, BuildState.FAILED, error="RUN make ended with exit code 2.", hint="See `lumper log`.")
    await expect(state).to_have_text("failed")
    await expect(page.locator(".trouble code")).to_have_text("lumper log")
    await expect(page.get_by_role("button", name="Build again")).to_be_visible()
    await expect(make.locator(".error")).to_have_text("exit code: 2")
    await expect(sight.step(0).locator(".body")).to_have_count(0)
    await page.click("[data-failing]")
    await expect(make.locator(".error")).to_be_in_viewport()
    assert "failed" in await page.title()
    assert await page.evaluate("window.owned") is None


async def test_the_keyboard_stays_on_its_repository_when_others_move(sight: Sight) -> None:
    page, rows = sight.page, sight.page.locator("#images a.row")
    for name in ("keys/one", "keys/two", "keys/three"):
        await sight.live.put(name).image("1.0")
    await sight.go("/images?q=keys/&by=changed")
    await expect(rows).to_have_text(["keys/three", "keys/two", "keys/one"])
    await page.keyboard.press("j")
    await expect(rows.first).to_be_focused()
    await sight.live.put("keys/one").image("1.1", layer=b"other")
    await expect(rows).to_have_text(["keys/one", "keys/three", "keys/two"])
    await expect(page.locator(":focus")).to_have_text("keys/three")
    await sight.live.put("keys/three").image("1.1", layer=b"other")
    await expect(rows).to_have_text(["keys/three", "keys/one", "keys/two"])
    await expect(page.locator(":focus")).to_have_text("keys/three")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("keys/three")


async def test_control_sequences_never_become_anything_but_text_and_classes(sight: Sight) -> None:
    await sight.go("/")
    show = """async (text) => {
        const known = document.querySelector('script[type=module]').src;
        const { paint, plain } = await import(known.replace('page.js', 'ansi.js'));
        const element = document.createElement('div');
        paint(element, text);
        return [element.innerHTML, plain(text)];
    }"""
    esc = "\x1b"
    for text, html, plain in [
        ("plain\ttext", "plain\ttext", "plain\ttext"),
        ("<b>&", "&lt;b&gt;&amp;", "<b>&"),
        (f"{esc}[1;4;38;5;196mx{esc}[22;24;39my", '<span class="f1 b u">x</span>y', "xy"),
        (f"{esc}[38;2;0;0;0mx{esc}[m{esc}[48:5:15my", '<span class="f0">x</span><span class="g15">y</span>', "xy"),
        (f"{esc}[7;31mx", '<span class="f0 g1">x</span>', "x"),
        (f"{esc}[38;5;999999mx{esc}[38mz", "xz", "xz"),
        (f"{esc}[?25l{esc}[2K{esc}[1;1Hx{esc}[6n", "x", "x"),
        (f"{esc}]0;title\x07a{esc}]8;;http://evil{esc}\\b{esc}P1;q{esc}\\c{esc}(Bd", "abcd", "abcd"),
        (f"a{esc}]8;;never ended", "a", "a"),
        ("\x9b31mred\x9b0m\x00\x08", '<span class="f1">red</span>', "red"),
        ("10%\r50%\r100%\r", "100%", "100%"),
        ("first\r\n", "first", "first"),
        ("a\u202eb", "a\ufffdb", "a\ufffdb"),
        (f"lonely {esc}", "lonely ", "lonely "),
    ]:
        assert await sight.page.evaluate(show, text) == [html, plain], repr(text)


async def test_the_theme_follows_the_system_until_one_is_chosen(sight: Sight) -> None:
    page = sight.page
    ground = "getComputedStyle(document.body.parentElement).backgroundColor"
    await sight.go("/")
    light = await page.evaluate(ground)
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate(ground)
    assert light != dark
    await page.click("[data-theme-toggle]")
    assert await page.evaluate(ground) == light
    await page.reload()
    assert await page.evaluate(ground) == light
    await page.keyboard.press("t")
    assert await page.evaluate(ground) == dark
    await page.evaluate("localStorage.clear()")
    await page.emulate_media(color_scheme="light")


async def test_no_page_is_wider_than_a_phone(sight: Sight, project: Any) -> None:
    page = sight.page
    build_id = await sight.live.running(project, "v3.3.0-with-quite-a-long-name-of-a-tag.20250304")
    await sight.live.say(build_id, step_lines(1, "RUN wide " + "x" * 300, ["y" * 2000]))
    await page.set_viewport_size({"width": 390, "height": 780})
    for path in ("/", f"/builds/{build_id}", "/images", "/services", "/projects", "/projects/acme/shop", "/mail"):
        await sight.go(path)
        await expect(page.locator("h1")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path
    await page.set_viewport_size({"width": 1200, "height": 800})


async def test_rows_are_walked_by_keys_and_opened_details_stay_open(sight: Sight, project: Any) -> None:
    live, page = sight.live, sight.page
    await live.queued(project, "v3.4.0")
    await sight.go("/")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    newest = await page.locator("a.row").first.get_attribute("href")
    assert await page.evaluate("document.activeElement.getAttribute('href')") == newest
    build_id = await live.queued(project, "v3.5.0")
    await expect(page.locator(f"#build-{build_id}")).to_be_visible()
    assert await page.evaluate("document.activeElement.getAttribute('href')") == newest
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("acme/shop v3.4.0")


async def test_a_running_build_is_cancelled_by_its_button(sight: Sight, project: Any) -> None:
    live, page = sight.live, sight.page
    build_id = await live.queued(project, "v3.6.0")
    await sight.go(f"/builds/{build_id}")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator("#build .head .state")).to_have_text("cancelled")
    assert (await live.history.builds.get(build_id)).state is BuildState.CANCELLED


async def test_a_new_attempt_takes_the_place_of_the_one_that_was_watched(sight: Sight, project: Any) -> None:
    live, page = sight.live, sight.page
    build_id = await live.running(project, "v3.7.0")
    await live.say(
        build_id, [Step(1, "RUN one", StepState.RUNNING, time.time()), Output(1, 1, time.time(), "of the first")]
    )
    await sight.go(f"/builds/{build_id}")
    await expect(page.locator(".l")).to_have_text("of the first")
    await live.history.builds.online(WorkerOnline("builder-1", "another boot"))
    live.history.logs.wake()
    await expect(page.locator(".attempts")).to_contain_text("1 2")
    await live.taken(build_id, attempt=2)
    await live.say(build_id, step_lines(1, "RUN two", ["of the second"]), attempt=2)
    await expect(page.locator("[data-count]")).to_have_text("1 line, live")
    await page.get_by_role("link", name="1", exact=True).click()
    await expect(page.locator(".l")).to_have_text("of the first")


async def test_a_robots_token_is_shown_once_and_copied_and_removing_is_confirmed(sight: Sight) -> None:
    page = sight.page
    await sight.go("/access")
    form = page.locator("form[action='/access/robots']")
    await form.locator("[name=name]").fill("ci")
    await form.get_by_role("button", name="Add a robot").click()
    shown = page.locator(".once code")
    await expect(shown).to_contain_text("lmp_")
    copied = await page.locator(".once .copy").get_attribute("data-copy")
    await page.locator(".once .copy").click()
    await expect(page.locator("[data-said]")).to_have_text("Copied")
    assert copied == await shown.text_content()
    await sight.go("/access")
    await expect(shown).to_have_count(0)

    row = page.locator("tr", has=page.locator("form[action='/access/robots/remove'] [value=ci]"))
    await expect(row.get_by_role("button", name="Yes, remove ci")).to_be_hidden()
    await row.get_by_text("Remove", exact=True).click()
    await row.get_by_role("button", name="Yes, remove ci").click()
    await expect(page.locator("#robots + .none")).to_be_visible()
    await sight.go("/audit?action=robot")
    await expect(page.locator("main tbody tr").first).to_contain_text("ci: removed")
    assert not sight.complaints


async def test_a_tag_is_deleted_after_a_look_at_what_goes_and_comes_back_by_undo(sight: Sight) -> None:
    live, page = sight.live, sight.page
    put = live.put("acme/chart")
    first, second = (
        await put.image("latest", "1.0"),
        await put.image("latest", layer=b"second", config=program(HOSTILE)),
    )
    await sight.go("/images")
    await page.get_by_role("link", name="acme/chart").click()
    await page.get_by_role("link", name="latest", exact=True).click()
    await expect(page.locator("h1")).to_have_text("acme/chart:latest")
    await expect(page.locator("#labels + section dd")).to_have_text(f"shop{HOSTILE}")
    await page.get_by_role("link", name="Delete the tag").click()
    await expect(page.locator("h1")).to_have_text("Delete the tag latest?")
    await page.get_by_role("link", name="No, keep it").click()
    await expect(page.locator("h1")).to_have_text("acme/chart:latest")
    assert await live.history.images.tag("acme/chart", "latest") is not None

    await page.get_by_role("link", name="Delete the tag").click()
    await page.get_by_role("button", name="Yes, delete the tag").click()
    await expect(page.locator(".facts")).to_have_text("is not there")
    assert await live.history.images.tag("acme/chart", "latest") is None
    await page.get_by_role("button", name="Undo").click()
    await expect(page.locator(".facts code")).to_have_attribute("title", second)
    await page.locator("tr", has_text=first[7:19]).get_by_role("button", name="Point here").last.click()
    await expect(page.locator(".facts code")).to_have_attribute("title", first)
    assert await page.evaluate("window.owned") is None


async def test_a_tag_is_set_by_the_keyboard_and_what_changed_is_looked_at(sight: Sight) -> None:
    live, page = sight.live, sight.page
    put = live.put("acme/keys")
    old, new = await put.image("stable"), await put.image("2.0", layer=b"two", config=program(Env=["MODE=loud"]))
    await sight.go("/images/acme/keys:2.0")
    field = page.get_by_label("Another tag for this image")
    await field.focus()
    await page.keyboard.type("not good")
    await page.keyboard.press("Enter")
    assert await field.evaluate("field => field.validity.patternMismatch")
    await field.fill("stable")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Move the tag stable?")
    await page.get_by_role("link", name="what changes with it").click()
    await expect(page.locator(".settings")).to_contain_text("$MODE")
    await expect(page.locator('[data-fate="comes"]')).to_have_count(1)
    await page.go_back()
    await page.get_by_role("button", name="Yes, move the tag").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".facts code")).to_have_attribute("title", new)
    await page.get_by_role("link", name=f"What changed from {old[7:19]} to {new[7:19]}").click()
    await expect(page.locator("h1")).to_have_text("What changed")


async def test_the_pages_of_the_registry_fit_a_phone(sight: Sight) -> None:
    page, put = sight.page, sight.live.put("acme/a-name-of-a-repository/that-goes-on-and-on/for-quite-some-time")
    tag = "a-tag-that-is-as-long-as-a-tag-may-be-" + "x" * 80
    digest = await put.image(tag, config=program("w" * 300), annotations={"k" * 200: "v" * 900})
    await put.referrer(digest, "application/spdx+json", {"k" * 200: "v" * 900})
    other = await put.image(layer=b"other", config=program("z" * 300))
    await page.set_viewport_size({"width": 390, "height": 780})
    start = f"/images/{put.repository}"
    for path in (
        "/images",
        start,
        f"{start}:{tag}",
        f"{start}@{digest}",
        f"{start}/-/history",
        f"{start}/-/history?tag={tag}",
        f"{start}/-/rules",
        f"{start}:{tag}/-/delete",
        f"{start}@{digest}/-/tag?tag={'y' * 128}",
        f"{start}/-/compare?a={tag}&b={other}",
    ):
        await sight.go(path)
        await expect(page.locator("h1")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path
    await page.set_viewport_size({"width": 1200, "height": 800})
