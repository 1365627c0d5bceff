"""The pages of the registry: what people see of images, and what they may change there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html import unescape

import aiohttp
import pytest

from lumper.model import events
from lumper.model.deployment import Container, ContainerState
from lumper.model.images.activity import SERVER
from lumper.model.images.rules import Rule
from lumper.model.people.people import Role
from lumper.registry.catalog.tagging import move_tags
from lumper.registry.reference import Reference
from parts.registries.page_images import BY, INDEX, MANIFEST, Put, program
from parts.web.live_pages import COMMIT, PASSWORD, REGISTRY, LivePages, seen

EVIL = "<script>alert(1)</script>\"'&\u202e\ud800"


async def sent(session: aiohttp.ClientSession, path: str, **form: str) -> tuple[int, str]:
    async with session.post(path, data=form, allow_redirects=False) as answer:
        return answer.status, unescape(await answer.text())


async def ann(live: LivePages, session: aiohttp.ClientSession, *actions: str) -> None:
    """Sign in a user who may do this in acme/*."""
    await live.history.accounts.create_user("ann", PASSWORD, Role.USER)
    if actions:
        await live.history.accounts.grants.add("ann", "acme/*", list(actions))
    assert (await sent(session, "/login", name="ann", password=PASSWORD))[0] == 303


async def pointed(live: LivePages, tag: str = "latest") -> str:
    found = await live.history.images.tag("acme/shop", tag)
    return found.digest if found else ""


def shown(page: str) -> str:
    """What a form tells that its page has shown."""
    found = re.search('name="seen" value="([^"]+)"', page)
    assert found, page
    return found[1]


# What is shown


async def test_an_image_tells_its_layers_settings_and_how_to_pull_it(shop: Put, person: aiohttp.ClientSession) -> None:
    digest = await shop.image("1.4.2", "latest")
    for path in ("/images/acme/shop:1.4.2", f"/images/acme/shop@{digest}"):
        page = await seen(person, path)
        for words in (
            "linux/arm64",
            ">COPY shop /srv<",
            ">ENV MODE=production<",
            "/srv/shop --quiet",
            "2026-05-01T10:00:00Z",
            f"docker pull {REGISTRY}/acme/shop@{digest}",
            f"podman pull {REGISTRY}/acme/shop@{digest}",
            "/images/acme/shop:latest",
        ):
            assert words in page, (path, words)
        size = page.partition('<p class="facts"><span><b>')[2].partition("<")[0]
        assert f"{size} in the storage, all of it for this image alone" in page
    assert f"podman pull {REGISTRY}/acme/shop:1.4.2" in await seen(person, "/images/acme/shop:1.4.2")


async def test_an_index_leads_to_its_platforms_and_back(shop: Put, person: aiohttp.ClientSession) -> None:
    child = await shop.image()
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    about = {"mediaType": MANIFEST, "digest": child, "size": 400, "platform": platform}
    index = await shop.manifest({"manifests": [about]}, ["2.0"], INDEX)
    page = await seen(person, "/images/acme/shop:2.0")
    assert "linux/arm64/v8" in page
    assert "not here" not in page
    assert f'href="/images/acme/shop@{child}"' in page
    page = await seen(person, f"/images/acme/shop@{child}")
    assert f'href="/images/acme/shop@{index}"' in page
    assert f"is a part of the index acme/shop@{index}, tagged 2.0" in unescape(
        await seen(person, f"/images/acme/shop@{child}/-/delete")
    )
    assert (await sent(person, f"/images/acme/shop@{child}/-/delete"))[0] == 403


async def test_referrers_are_listed_with_their_kind(shop: Put, person: aiohttp.ClientSession) -> None:
    digest = await shop.image("1.0")
    sbom = await shop.referrer(digest, "application/spdx+json", {"tool": "syft 1.2"})
    await shop.image(f"{digest.replace(':', '-')}.sig", layer=b"sig")
    page = await seen(person, "/images/acme/shop:1.0")
    assert "application/spdx+json" in page
    assert "syft 1.2" in page
    assert f"oras pull {REGISTRY}/acme/shop@{sbom}" in await seen(person, f"/images/acme/shop@{sbom}")
    assert f"/images/acme/shop@{sbom}" in page
    assert f"/images/acme/shop:{digest.replace(':', '-')}.sig" in page
    assert f'href="/images/acme/shop@{digest}"' in await seen(person, f"/images/acme/shop@{sbom}")
    page = await seen(person, f"/images/acme/shop@{digest}/-/delete")
    assert "1 signature, SBOM" in page
    assert "<dt>Gives back</dt><dd>" in page


async def test_the_build_that_made_it_and_where_it_runs_are_told(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    project = await live.project()
    build_id = await live.running(project)
    digest = await shop.image("1.4.2")
    async with live.history.database.write() as connection:
        await move_tags(connection, "acme/shop", digest, ["1.4.2"], build_id, datetime.now(UTC))
    container = Container("1", "web", digest, "h", 1, ContainerState.HEALTHY, host="harbour")
    await live.history.rollouts.observed(events.HostObserved("harbour", datetime.now(UTC), (container,)))
    page = await seen(person, "/images/acme/shop:1.4.2")
    assert f'href="/builds/{build_id}"' in page
    assert COMMIT in page
    assert "pushed by mara" in page
    assert "on harbour" in page

    status, page = await sent(person, f"/images/acme/shop@{digest}/-/delete")
    assert (status, "the service web runs it on harbour" in page) == (403, True)
    async with live.browser(signed_in=False) as user:
        await ann(live, user, "pull", "delete")
        assert "harbour" not in await seen(user, "/images/acme/shop:1.4.2")
        page = await seen(user, f"/images/acme/shop@{digest}/-/delete")
        assert "it runs, or is what its project built last" in page
        assert "harbour" not in page


async def test_hostile_words_are_only_words(shop: Put, person: aiohttp.ClientSession) -> None:
    digest = await shop.image("1.0", config=program(EVIL), annotations={EVIL: EVIL})
    await shop.referrer(digest, "application/x<b>", {f"key{EVIL}": EVIL})
    for path in ("/images/acme/shop:1.0", "/images/acme/shop/-/history", "/images/acme/shop"):
        async with person.get(path) as answer:
            page = await answer.text()
            assert answer.status == 200
        assert "<script>alert" not in page
        assert "<b>application/x<b>" not in page
        assert "\u202e" not in page
    for path in ("/images?q=", "/images/acme/shop?q=", "/images/acme/shop/-/history?tag="):
        async with person.get(path + '"><script>alert(1)</script>') as answer:
            assert "<script>alert" not in await answer.text()


@pytest.mark.parametrize("config", [b"\xff", b"[" * 100_000, b"{}", b'{"config": [], "history": 7}', b"x" * (2 << 20)])
async def test_a_configuration_that_is_none_hides_nothing_else(
    shop: Put, person: aiohttp.ClientSession, config: bytes
) -> None:
    digest = await shop.image("1.0", config=config)
    page = await seen(person, "/images/acme/shop:1.0")
    assert digest in page
    assert "A container of it" not in page or config.startswith(b"{")


async def test_an_image_whose_bytes_are_lost_can_still_be_seen_and_deleted(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    digest = await shop.image("1.0")
    live.registry.manifests._kept.clear()
    await live.storage.delete(digest)
    assert "lumper registry verify" in await seen(person, "/images/acme/shop:1.0")
    path = f"/images/acme/shop@{digest}/-/delete"
    assert (await sent(person, path, seen=shown(await seen(person, path))))[0] == 303


@pytest.mark.parametrize(
    "path",
    [
        "/images/acme/none",
        "/images/acme/shop:none",
        "/images/acme/shop@sha256:" + "0" * 64,
        "/images/acme/shop@sha256:1",
        "/images/acme/shop:_build-1-1",
        "/images/acme/shop:a:b",
        "/images/acme/none/-/history",
        "/images/acme/none/-/rules",
        "/images/acme/shop:1.0/-/rules",
        "/images/acme/shop:none/-/delete",
        "/images/acme/none/-/delete",
        "/images/-/history",
        "/images/acme/shop/-/nothing",
    ],
)
async def test_what_is_not_there_is_not_found(shop: Put, person: aiohttp.ClientSession, path: str) -> None:
    await shop.image("1.0")
    await seen(person, path, 404)


# What is changed


async def test_a_move_is_undone_and_a_removed_tag_comes_back(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    one, two = await shop.image("latest"), await shop.image("latest", layer=b"two")
    page = await seen(person, "/images/acme/shop/-/history?tag=latest")
    assert page.count(">Undo<") == 1
    move = "/images/acme/shop:latest/-/move"
    assert (await sent(person, move, undo="1", seen=two))[0] == 303
    assert await pointed(live) == one
    status, page = await sent(person, move, undo="1", seen=two)
    assert (status, "has moved meanwhile" in page) == (409, True)
    assert (await sent(person, move, to=two, seen=one))[0] == 303
    assert await pointed(live) == two

    delete = "/images/acme/shop:latest/-/delete"
    assert "on the page of its history" in await seen(person, delete)
    assert (await sent(person, delete, seen=one))[0] == 409
    assert (await sent(person, delete, seen=two))[0] == 303
    assert await pointed(live) == ""
    await seen(person, "/images/acme/shop:latest", 303)
    assert ">Undo<" in await seen(person, "/images/acme/shop/-/history?tag=latest")
    assert (await sent(person, move, undo="1", seen=""))[0] == 303
    assert await pointed(live) == two
    rows = await live.history.activity.activities(repository="acme/shop", tag="latest", limit=1)
    assert (rows[0].actor.name, rows[0].actor.role, rows[0].detail) == ("admin", "admin", "undo")


@pytest.mark.parametrize("form", [{}, {"to": "latest"}, {"to": "sha256:1"}, {"to": ""}])
async def test_a_move_that_says_nothing_is_refused(
    shop: Put, person: aiohttp.ClientSession, form: dict[str, str]
) -> None:
    digest = await shop.image("latest")
    assert (await sent(person, "/images/acme/shop:latest/-/move", seen=digest, **form))[0] == 400
    assert (await sent(person, "/images/acme/shop/-/move", to=digest, seen=""))[0] == 400


async def test_deleting_an_image_tells_the_tags_that_go_with_it(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    digest = await shop.image("1.0", "latest")
    path = f"/images/acme/shop@{digest}/-/delete"
    page = await seen(person, path)
    assert '<span class="chip">1.0</span>' in page
    assert '<span class="chip">latest</span>' in page
    await live.registry.tags.retag(Reference("acme/shop", "production"), digest, BY)
    for told in (shown(page), ""):
        status, refused = await sent(person, path, seen=told)
        assert (status, "others than you saw" in refused) == (409, True)
    assert await pointed(live, "production") == digest
    assert (await sent(person, path, seen=shown(await seen(person, path))))[0] == 303
    assert await live.history.images.tags("acme/shop") == []
    assert await live.history.images.manifest("acme/shop", digest) is None


async def test_what_is_looked_at_before_an_image_goes_is_not_as_old_as_its_form_was_slow(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    digest = await shop.image("1.0")
    path = f"/images/acme/shop@{digest}/-/delete"
    told, begun, may_end = shown(await seen(person, path)), asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"seen="
        begun.set()
        await may_end.wait()
        yield told.encode()

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    sending = asyncio.create_task(person.post(path, data=slowly(), headers=headers, allow_redirects=False))
    await begun.wait()
    await seen(person, path)  # by when the server has the head of the form, too
    await shop.manifest({"manifests": [{"mediaType": MANIFEST, "digest": digest, "size": 400}]}, ["multi"], INDEX)
    may_end.set()
    async with await sending as answer:
        assert (answer.status, "part of the index" in await answer.text()) == (403, True)
    assert await live.history.images.manifest("acme/shop", digest) is not None


async def test_a_whole_repository_goes_when_its_name_is_typed(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    digest, path = await shop.image("1.0", "latest"), "/images/acme/shop/-/delete"
    await shop.referrer(digest, "application/spdx+json", {})

    async def newest() -> str:
        return str((await live.history.activity.activities(repository="acme/shop", limit=1))[0].id)

    assert f'href="{path}"' in await seen(person, "/images/acme/shop")
    page, last = await seen(person, path), await newest()
    assert "2 tags, and all 2 manifests" in page
    assert f'name="seen" value="{last}"' in page
    assert (await sent(person, path, seen=last, name="acme/other"))[0] == 400
    await shop.image("1.1", layer=b"since")
    assert (await sent(person, path, seen=last, name="acme/shop"))[0] == 409
    await live.history.images.set_rule(Rule("acme/*", immutable=("1.0",)), SERVER)
    assert "1.0 is immutable by the rule for acme/*" in await seen(person, path)
    assert (await sent(person, path, seen=await newest(), name="acme/shop"))[0] == 403
    await live.history.images.remove_rule("acme/*", SERVER)
    assert await pointed(live) == digest

    assert (await sent(person, path, seen=await newest(), name="acme/shop"))[0] == 303
    assert await live.history.images.digests("acme/shop", "sha", 1) == []
    assert "acme/shop" not in await seen(person, "/images")
    assert path not in await seen(person, "/images/acme/shop")
    await seen(person, path, 404)


async def test_immutable_tags_stay_and_the_page_says_why(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    digest = await shop.image("v1", "latest")
    await live.history.images.set_rule(Rule("acme/*", immutable=("v*",)), SERVER)
    for path in ("/images/acme/shop:v1/-/delete", f"/images/acme/shop@{digest}/-/delete"):
        assert "v1 is immutable by the rule for acme/*" in await seen(person, path)
        status, page = await sent(person, path, seen=digest)
        assert (status, "is immutable" in page) == (403, True)
    assert await pointed(live, "v1") == digest
    assert (await sent(person, "/images/acme/shop:latest/-/delete", seen=digest))[0] == 303


async def test_people_see_and_do_what_they_are_granted_and_no_more(live: LivePages, shop: Put) -> None:
    one, two = await shop.image("latest"), await shop.image("latest", layer=b"two")
    paths = (
        "/images/acme/shop",
        "/images/acme/shop:latest",
        f"/images/acme/shop@{two}",
        "/images/acme/shop/-/history?tag=latest",
        "/images/acme/shop/-/rules",
    )
    move, delete = "/images/acme/shop:latest/-/move", "/images/acme/shop:latest/-/delete"
    await live.history.accounts.create_robot("ci", None, BY)
    await live.history.accounts.grants.add("ci", "acme/shop", ["push"])
    async with live.browser(signed_in=False) as user:
        await ann(live, user)
        assert "acme/shop" not in await seen(user, "/images")
        for path in (*paths, delete):
            await seen(user, path, 404)
        for path in (move, delete):
            assert (await sent(user, path, undo="1", seen=two))[0] == 404

        await live.history.accounts.grants.add("ann", "acme/*", ["pull"])
        assert "acme/shop" in await seen(user, "/images")
        for path in paths:
            page = await seen(user, path)
            assert "/-/delete" not in page, path
            assert "/-/move" not in page, path
            assert "192.0.2.7" not in page, path
            assert "Set the rule" not in page, path
        for _ in range(51):
            await live.history.accounts.grants.add("ci", "acme/shop", ["push"])
        past = await seen(user, "/images/acme/shop/-/history")
        assert ("grant" in past, "pushed" in past) == (False, True)
        await seen(user, delete, 403)
        whole = "/images/acme/shop/-/delete"
        for path in (move, delete, f"/images/acme/shop@{two}/-/delete", whole, "/images/acme/shop/-/rules"):
            assert (await sent(user, path, undo="1", seen=two, quota="1"))[0] == 403, path
        assert await pointed(live) == two

        await live.history.accounts.grants.add("ann", "acme/shop", ["push", "delete"])
        assert (await sent(user, move, undo="1", seen=two))[0] == 303
        assert (await sent(user, delete, seen=one))[0] == 303
        assert await pointed(live) == ""


async def test_forms_of_other_sites_delete_nothing(live: LivePages, shop: Put, person: aiohttp.ClientSession) -> None:
    digest = await shop.image("latest")
    for path in (
        "shop:latest/-/delete",
        f"shop@{digest}/-/delete",
        "shop:latest/-/move",
        "shop/-/delete",
        "shop/-/rules",
    ):
        async with person.post(f"/images/acme/{path}", data={"seen": digest}, headers={"Origin": "null"}) as answer:
            assert answer.status == 403
    assert await pointed(live) == digest
