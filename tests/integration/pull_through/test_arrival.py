"""How blobs and manifests come from upstream: once, as they arrive, whole or not at all."""

from __future__ import annotations

import asyncio
import json
import os

import aiohttp
import pytest
from aiohttp import web

from parts.registries.live_registry import OCI_INDEX, OCI_MANIFEST, RegistryClient, digest_of, image_index
from parts.registries.mirror import Mirror, body, digest
from parts.registries.upstream import Door


async def test_an_image_comes_from_upstream_once(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    layer = os.urandom(300_000)
    pushed = await pusher.push_image("team/app", "1.0", layer)

    async with mirror() as (_, client):
        for _ in range(2):
            manifest = json.loads(await body(client, "/v2/hub/team/app/manifests/1.0"))
            assert await digest(client, f"/v2/hub/team/app/manifests/{pushed}") == pushed
            for link in (manifest["config"], *manifest["layers"]):
                assert len(await body(client, f"/v2/hub/team/app/blobs/{link['digest']}")) == link["size"]
        assert await body(client, f"/v2/hub/team/app/blobs/{manifest['layers'][0]['digest']}") == layer

    assert door.count("GET", "/team/app/manifests/1.0") == 1
    assert door.count("GET", manifest["layers"][0]["digest"]) == 1


async def test_many_pulls_of_one_layer_are_one_download_and_all_see_it_arrive(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(3_000_000)
    blob = await pusher.push_blob("app", layer)
    door.gate = asyncio.Event()

    async with mirror() as (live, client):

        async def pull() -> bytes:
            async with client.request("GET", f"/v2/hub/app/blobs/{blob}") as response:
                assert response.status == 200
                first = await response.content.readany()
                begun.release()
                return bytes(first + await response.read())

        begun = asyncio.Semaphore(0)
        pulls = [asyncio.create_task(pull()) for _ in range(20)]
        for _ in pulls:  # all have bytes, while upstream holds back the rest
            await asyncio.wait_for(begun.acquire(), 60)
        pulls[0].cancel()
        door.gate.set()

        assert all(found == layer for found in await asyncio.gather(*pulls[1:]))
        assert door.count("GET", blob) == 1
        assert [file.parent.parent.name for file in live.files] == ["sha256"]


async def test_a_range_of_a_blob_that_is_arriving(pusher: RegistryClient, mirror: Mirror) -> None:
    layer = os.urandom(500_000)
    blob = await pusher.push_blob("app", layer)

    async with (
        mirror() as (_, client),
        client.request("GET", f"/v2/hub/app/blobs/{blob}", headers={"Range": "bytes=1000-1999"}) as response,
    ):
        assert response.status == 206
        assert await response.read() == layer[1000:2000]


async def test_a_blob_of_which_upstream_does_not_tell_the_size_comes_when_all_of_it_is_here(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(100_000)

    async def untold(request: web.Request) -> web.StreamResponse | None:
        if request.method != "GET" or not request.path.endswith(digest_of(layer)):
            return None
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        await answer.write(layer)
        return answer

    async with mirror() as (_, client):
        door.first = untold
        for data in (layer, b""):
            blob = await pusher.push_blob("app", data)
            async with client.request("GET", f"/v2/hub/app/blobs/{blob}") as response:
                assert (response.status, response.content_length) == (200, len(data))
                assert await response.read() == data


async def test_children_of_an_index_come_when_they_are_asked_for(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    children = [await pusher.push_image("multi", f"arch{n}", os.urandom(100)) for n in range(3)]
    sizes = [(child, len(await body(pusher, f"/v2/multi/manifests/{child}"))) for child in children]
    index = await pusher.push_manifest("multi", "all", image_index(*sizes), OCI_INDEX)

    async with mirror() as (live, client):
        assert await digest(client, "/v2/hub/multi/manifests/all") == index
        assert await digest(client, f"/v2/hub/multi/manifests/{children[1]}") == children[1]
        flaws = [found async for found in live.registry.verifier.run()]
        assert [tag.name for tag in await live.registry.metadata.tags("hub/multi") or []] == ["all"]

    assert door.count("GET", children[1]) == 1
    assert door.count("GET", children[0]) == 0
    assert not [found for found in flaws if hasattr(found, "why")]


async def test_a_blob_whose_upstream_dies_in_the_middle_is_an_error_and_never_a_short_one(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(2_000_000)
    blob = await pusher.push_blob("app", layer)

    async def dying(request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" not in request.path:
            return None
        if request.headers.get("Range"):
            return web.Response(status=503)
        answer = web.StreamResponse(headers={"Content-Length": str(len(layer))})
        await answer.prepare(request)
        await answer.write(layer[:500_000])
        assert request.transport
        request.transport.close()
        return answer

    async with mirror() as (live, client):
        door.first = dying
        with pytest.raises(aiohttp.ClientError):
            async with client.request("GET", f"/v2/hub/app/blobs/{blob}") as response:
                await response.read()
        assert not [path for path in live.files if "blobs" in path.parts]
        door.first = None
        assert await body(client, f"/v2/hub/app/blobs/{blob}") == layer


async def test_wrong_bytes_are_never_handed_over_whole(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    layer = os.urandom(200_000)
    blob = await pusher.push_blob("app", layer)
    manifest = await pusher.push_image("app", "1")

    async def lie(request: web.Request) -> web.Response | None:
        if "/blobs/" in request.path:
            return web.Response(body=layer[:-1] + bytes([layer[-1] ^ 1]))
        if "/manifests/" in request.path:
            return web.Response(body=b"{}", content_type=OCI_MANIFEST)
        return None

    async with mirror() as (live, client):
        door.first = lie
        with pytest.raises(aiohttp.ClientError):
            async with client.request("GET", f"/v2/hub/app/blobs/{blob}") as response:
                await response.read()
        assert await client.refusal("GET", f"/v2/hub/app/manifests/{manifest}") == (502, "UPSTREAM_FAILED")
        assert not live.files
        door.first = None
        assert await body(client, f"/v2/hub/app/blobs/{blob}") == layer


async def test_a_download_that_breaks_off_goes_on_where_it_was(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(2_000_000)
    blob = await pusher.push_blob("app", layer)
    broken: list[str] = []

    async def breaking(request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" not in request.path or len(broken) == 2:
            return None
        broken.append(request.headers.get("Range", ""))
        start = int(broken[-1].removeprefix("bytes=").rstrip("-") or 0)
        answer = web.StreamResponse(status=206 if start else 200, headers={"Content-Length": str(len(layer) - start)})
        await answer.prepare(request)
        await answer.write(layer[start : start + 500_000])
        assert request.transport
        request.transport.close()
        return answer

    async with mirror() as (_, client):
        door.first = breaking
        assert await body(client, f"/v2/hub/app/blobs/{blob}") == layer
    assert broken[0] == ""
    assert broken[1].startswith("bytes=")


async def test_a_layer_that_is_here_for_another_image_is_not_fetched_again(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(1000)
    blob = await pusher.push_blob("a", layer)
    await pusher.push_blob("b", layer)

    async with mirror() as (_, client):
        assert await body(client, f"/v2/hub/a/blobs/{blob}") == layer
        for _ in range(2):  # each is asked for once whether it has it too
            assert await body(client, f"/v2/hub/b/blobs/{blob}") == layer
            assert await client.refusal("GET", f"/v2/hub/c/blobs/{blob}") == (404, "BLOB_UNKNOWN")
    assert [door.count("GET", f"/v2/{name}/blobs/{blob}") for name in "abc"] == [1, 0, 1]
    assert [door.count("HEAD", f"/v2/{name}/blobs/{blob}") for name in "bc"] == [1, 1]


async def test_who_only_looks_at_a_blob_does_not_have_it_come(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    blob = await pusher.push_blob("app", b"layer")

    async with mirror() as (_, client):
        async with client.request("HEAD", f"/v2/hub/app/blobs/{blob}") as response:
            told = response.status, response.headers["Content-Length"], response.headers["Docker-Content-Digest"]
            assert told == (200, "5", blob)
        headers = {"If-Match": "another"}
        assert await client.refusal("DELETE", f"/v2/hub/app/blobs/{blob}", headers=headers) == (412, "DENIED")
        assert door.count("GET", blob) == 0
        assert await client.status("HEAD", f"/v2/hub/app/blobs/{digest_of(b'another')}") == 404


@pytest.mark.parametrize("refusal", [401, 404])
async def test_what_upstream_tells_nothing_of_before_it_gives_it_is_had_all_the_same(
    door: Door, pusher: RegistryClient, mirror: Mirror, refusal: int
) -> None:
    for name in "ab":
        blob = await pusher.push_blob(name, b"layer")

    async def told(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=refusal) if request.method == "HEAD" else None

    door.first = told
    async with mirror() as (_, client):
        for name in "ab":  # the second one is here for the first one already
            assert await client.status("HEAD", f"/v2/hub/{name}/blobs/{blob}") == 200
            assert await body(client, f"/v2/hub/{name}/blobs/{blob}") == b"layer"


async def test_memory_stays_flat_and_a_slow_reader_holds_up_nobody(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(8_000_000)
    blob = await pusher.push_blob("app", layer)

    async with mirror() as (live, client), client.request("GET", f"/v2/hub/app/blobs/{blob}") as slow:
        assert await body(client, f"/v2/hub/app/blobs/{blob}") == layer
        assert [file.parent.parent.name for file in live.files] == ["sha256"]
        assert await slow.read() == layer  # also after the blob has come to its place
    assert door.count("GET", blob) == 1
