"""When upstream is asked again, and what is served when it is slow, away, or has it no more."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from lumper.model.images.activity import Actor
from lumper.model.images.rules import Rule
from parts.registries.live_registry import RegistryClient, digest_of
from parts.registries.mirror import Mirror, body, digest
from parts.registries.upstream import Door
from parts.suite.eventually import eventually


async def test_a_tag_is_asked_for_again_when_its_time_is_over(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    old = await pusher.push_image("app", "latest", b"old")

    async with mirror(ttl=0.0) as (_, client):
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        assert door.count("GET", "/manifests/latest") == 1
        assert door.count("HEAD", "/manifests/latest") == 1
        new = await pusher.push_image("app", "latest", b"new")
        assert await digest(client, "/v2/hub/app/manifests/latest") == new
        assert await pusher.status("DELETE", "/v2/app/manifests/latest") in (202, 401, 403)


async def test_a_tag_within_its_time_is_not_asked_for(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    old = await pusher.push_image("app", "latest", b"old")

    async with mirror(ttl=600.0) as (_, client):
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        await pusher.push_image("app", "latest", b"new")
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
    assert door.count("HEAD", "/manifests/latest") == 0


async def test_nobody_waits_long_for_a_slow_upstream_when_the_tag_is_here(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    old = await pusher.push_image("app", "latest", b"old")
    asked, answers = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> None:
        asked.set()
        await answers.wait()

    async with mirror(ttl=0.0, patience=0.1) as (live, client):
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        door.first = slow
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        await asyncio.wait_for(asked.wait(), 60)
        before = door.count("HEAD", "/manifests/latest")
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        assert door.count("HEAD", "/manifests/latest") == before
        new = await pusher.push_image("app", "latest", b"new")
        answers.set()

        async def moved() -> bool:  # the question went on
            tag = await live.registry.metadata.tag("hub/app", "latest")
            return tag is not None and tag.digest == new

        await eventually(moved)
        assert await digest(client, "/v2/hub/app/manifests/latest") == new


@pytest.mark.parametrize(("status", "told"), [(503, "UPSTREAM_FAILED"), (429, "TOOMANYREQUESTS"), (403, "")])
async def test_what_is_here_is_served_when_upstream_cannot_be_asked(
    door: Door, pusher: RegistryClient, mirror: Mirror, status: int, told: str
) -> None:
    pushed = await pusher.push_image("app", "1", b"layer")

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "3600"})

    async with mirror(ttl=0.0) as (_, client):
        assert await digest(client, "/v2/hub/app/manifests/1") == pushed
        door.first = refuse
        assert await digest(client, "/v2/hub/app/manifests/1") == pushed
        refused = await client.refusal("GET", "/v2/hub/app/manifests/2")
        assert refused[1] == (told or "MANIFEST_UNKNOWN")
        async with client.request("GET", "/v2/hub/app/manifests/2") as response:
            assert response.headers.get("Retry-After", "") == ("3600" if status == 429 else "")
            if response.status >= 500:  # of which the Docker Engine shows nothing but this line
                assert "answered 503" in str(response.reason)


async def test_a_tag_that_is_gone_upstream_is_gone_here(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    pushed = await pusher.push_image("app", "1", b"layer")

    async def unknown(request: web.Request) -> web.Response | None:
        return web.Response(status=404) if "/manifests/" in request.path else None

    async with mirror(ttl=0.0) as (_, client):
        assert await digest(client, "/v2/hub/app/manifests/1") == pushed
        door.first = unknown
        assert await client.refusal("GET", "/v2/hub/app/manifests/1") == (404, "MANIFEST_UNKNOWN")
        asked = sum(door.asked.values())
        assert await client.refusal("GET", "/v2/hub/app/manifests/1") == (404, "MANIFEST_UNKNOWN")
        assert sum(door.asked.values()) == asked  # for a moment nobody is asked again
        assert await digest(client, f"/v2/hub/app/manifests/{pushed}") == pushed


async def test_a_cached_tag_that_is_immutable_stays_as_it_was_when_it_moves_or_goes_upstream(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    first = await pusher.push_image("app", "v1", b"first")
    path = "/v2/hub/app/manifests/v1"

    async with mirror(ttl=0.0) as (live, client):
        await live.registry.metadata.set_rule(Rule("**", immutable=("v*",)), Actor("ann", "admin"))
        assert digest_of(await body(client, path)) == first
        await pusher.push_image("app", "v1", b"second")
        assert digest_of(await body(client, path)) == first
        admin = {"headers": {"Authorization": f"Bearer {door.token}"}}
        assert await pusher.status("DELETE", "/v2/app/manifests/v1", **admin) == 202
        assert digest_of(await body(client, path)) == first
        assert door.count("HEAD", "/manifests/v1") == 0
