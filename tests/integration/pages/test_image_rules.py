"""The rules of a repository on its page: set, tried and removed there."""

from __future__ import annotations

import re
from html import unescape

import aiohttp
import pytest

from lumper.model.images.rules import Keep, Rule
from parts.registries.page_images import BY, Put
from parts.web.live_pages import LivePages, posted, seen

EVIL = "<script>alert(1)</script>"


async def sent(session: aiohttp.ClientSession, path: str, **form: str) -> tuple[int, str]:
    status, _, page = await posted(session, path, form)
    return status, unescape(page)


def shown(page: str) -> str:
    """What a form tells that its page has shown."""
    found = re.search('name="seen" value="([^"]+)"', page)
    assert found, page
    return found[1]


async def test_the_rule_of_a_repository_is_set_tried_and_removed(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    for number in range(3):
        await shop.image(f"1.{number}", layer=b"%d" % number)
    path = "/images/acme/shop/-/rules"
    form = {"immutable": "v*, w*", "last": "1", "always": "latest", "quota": "0.5"}
    assert (await sent(person, path, **form, seen=shown(await seen(person, path))))[0] == 303
    (rule,) = (await live.history.images.rules()).all
    assert rule == Rule("acme/shop", ("v*", "w*"), (), Keep(last=1, always=("latest",)), 512 << 10)
    page = await seen(person, path)
    for words in ("v*, w*", "the newest image", "512 KiB", "<meter"):
        assert words in page
    await live.registry.metadata.set_rule(Rule("acme/*", quota=1 << 30), BY)
    page = await seen(person, "/rules")
    for words in ("<b>acme/shop</b>", "v*, w*", "of 512 KiB", "of 1.0 GiB", "<b>acme/*</b>"):
        assert words in page
    await live.registry.metadata.remove_rule("acme/*", BY)
    page = await seen(person, f"{path}?preview=1")
    assert "Of 3 tags, 2 would go" in page
    assert "it is the newest image" in page
    assert len(await live.history.images.tags("acme/shop") or []) == 3
    assert "keep the newest image" in await seen(person, "/images/acme/shop")
    assert (await sent(person, f"{path}/remove", seen=shown(page)))[0] == 303
    assert (await live.history.images.rules()).all == ()


async def test_a_rule_that_somebody_else_has_changed_meanwhile_stays(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    await shop.image("1.0")
    path, rules = "/images/acme/shop/-/rules", live.registry.metadata
    before = shown(await seen(person, path))
    frozen = Rule("acme/shop", immutable=("v*",))
    await rules.set_rule(frozen, BY)
    for told in (before, ""):
        for where, form in ((path, {"quota": "20"}), (f"{path}/remove", {})):
            status, page = await sent(person, where, **form, seen=told)
            assert (status, "has changed since you saw it" in page) == (409, True)
    assert (await rules.rules()).all == (frozen,)
    assert (await sent(person, path, quota="20", immutable="v*", seen=shown(await seen(person, path))))[0] == 303


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "says nothing"),
        ({"immutable": EVIL}, "is no glob for tags"),
        ({"last": "-1"}, "is no number"),
        ({"quota": "1e9"}, "is no number"),
        ({"pushed_days": "99999"}, "days are between"),
    ],
)
async def test_a_rule_that_is_wrong_is_told_on_the_page(
    live: LivePages, shop: Put, person: aiohttp.ClientSession, form: dict[str, str], words: str
) -> None:
    await shop.image("1.0")
    path = "/images/acme/shop/-/rules"
    status, page = await sent(person, path, **form, seen=shown(await seen(person, path)))
    assert (status, words in page) == (400, True)
    assert (await live.history.images.rules()).all == ()
