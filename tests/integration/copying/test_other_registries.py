"""What other registries do in another way: lists of referrers, digests, and how long they take."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.transfer.source import RemoteSource
from parts.registries.copies import copied, outcomes, sign
from parts.registries.live_registry import RegistryClient, digest_of, image_manifest
from parts.registries.upstream import Door

Answer = Callable[[web.Request], Awaitable[web.Response | None]]


async def passed_on(door: Door, request: web.Request) -> web.Response:
    """What the registry behind the door answers, as registries from before there were referrers do."""
    kept = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            request.method, door.behind + request.path_qs, headers=kept, data=await request.read()
        ) as response,
    ):
        headers = {name: value for name, value in response.headers.items() if name in ("Docker-Content-Digest",)}
        return web.Response(status=response.status, headers=headers, body=await response.read())


def without_referrers(door: Door) -> Answer:
    async def answer(request: web.Request) -> web.Response | None:
        if "/referrers/" in request.path:
            return web.Response(status=404)
        return await passed_on(door, request) if request.method == "PUT" and "/manifests/" in request.path else None

    return answer


async def test_what_refers_to_an_image_is_found_at_a_registry_that_does_not_list_it_itself(
    old: tuple[Door, RegistryClient], new: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    subject = await old[1].push_image("app", "1")
    blob = await old[1].push_blob("app", b"{}")
    size = len((await here.manifest("app", "1")).body)
    about = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject, "size": size}
    notes = {"by": "ann"}
    bill = image_manifest((blob, 2), (blob, 2), subject=about, artifactType="application/spdx+json", annotations=notes)
    pushed = await old[1].push_manifest("app", digest_of(json.dumps(bill).encode()), bill)
    signature = await sign(old[1], subject)
    new[0].first = without_referrers(new[0])

    for _ in range(2):
        await copied(RemoteSource(here, "app", "1"), there, "copy:1", referrers=True)
        found = {one["digest"]: one for one in await there.referrers("copy", subject)}
        assert found.keys() == {pushed, signature}
        assert (found[pushed]["artifactType"], found[pushed]["annotations"]) == ("application/spdx+json", notes)
    assert (await outcomes(there, here, repositories=["copy"], tags=["1"], referrers=True)) == {"copy:1": "copied"}
    assert {one["digest"] for one in await here.referrers("copy", subject)} == {pushed, signature}


async def refused(request: web.Request) -> web.Response | None:
    """As distribution 2 answers to a manifest that is pushed by such a digest."""
    return web.Response(status=400) if request.method == "PUT" and "/manifests/sha512:" in request.path else None


@pytest.mark.parametrize("first", [None, refused], ids=["known there", "refused there"])
async def test_an_image_that_is_named_by_sha512_gets_a_tag_too(
    old: tuple[Door, RegistryClient],
    new: tuple[Door, RegistryClient],
    here: RemoteRegistry,
    there: RemoteRegistry,
    first: Answer | None,
) -> None:
    new[0].first = first
    config, layer = b'{"architecture":"amd64","os":"linux"}', os.urandom(1000)
    links = [(await old[1].push_blob("app", data), len(data)) for data in (config, layer)]
    manifest = image_manifest(*links)
    body = json.dumps(manifest).encode()
    digest = f"sha512:{hashlib.sha512(body).hexdigest()}"
    await old[1].push_manifest("app", digest, manifest)

    done = await copied(RemoteSource(here, "app", digest), there, "copy:1")

    assert done.manifests == 1
    assert await there.digest("copy", "1") == digest_of(body)
    if first is None:
        assert await there.digest("copy", digest) == digest
        assert (await copied(RemoteSource(here, "app", digest), there, "copy:1")).manifests == 0


async def test_a_blob_that_a_registry_took_longer_to_keep_than_it_was_waited_for_is_not_sent_again(
    old: tuple[Door, RegistryClient], new: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    await old[1].push_image("app", "1", os.urandom(50_000))

    async def breaks_off(request: web.Request) -> web.Response | None:
        if request.method != "PUT" or "/uploads/" not in request.path:
            return None
        await passed_on(new[0], request)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    new[0].first = breaks_off
    done = await copied(RemoteSource(here, "app", "1"), there, "app:1")

    assert (done.sent, new[0].count("POST", "/blobs/uploads/")) == (2, 2)
