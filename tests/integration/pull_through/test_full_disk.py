"""A registry that mirrors another one, on a disk without room: pulls go on, and nothing is kept."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from lumper.errors import StorageError
from lumper.model.people.people import Role
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.upstream.upstreams import Upstream
from parts.disks.small_disk import small_disk
from parts.registries.live_registry import LiveRegistry, RegistryClient, digest_of, live_registry
from parts.registries.upstream import Door, upstream

pytestmark = pytest.mark.system

_LAYER = 1_000_000


@pytest.fixture
def layer() -> bytes:
    return os.urandom(_LAYER)


@asynccontextmanager
async def mirror(data: Path, door: Door) -> AsyncIterator[tuple[LiveRegistry, RegistryClient]]:
    """Our registry, with the other one under `hub/`."""
    one = Upstream("hub", RemoteRegistry(door.url))
    async with live_registry(data, upstreams=[one]) as live, aiohttp.ClientSession() as session:
        yield live, RegistryClient(session, live.url, live.tokens[Role.ADMIN])


async def pulled(client: RegistryClient) -> bytes:
    """The layer of hub/app:1, pulled as clients do, whole and in part."""
    async with client.request("GET", "/v2/hub/app/manifests/1") as response:
        assert response.status == 200, await response.text()
        manifest = json.loads(await response.read())
    assert await client.status("HEAD", f"/v2/hub/app/manifests/{response.headers['Docker-Content-Digest']}") == 200
    found = b""
    for link in (manifest["config"], *manifest["layers"]):
        path = f"/v2/hub/app/blobs/{link['digest']}"
        async with client.request("HEAD", path) as response:
            assert (response.status, response.content_length) == (200, link["size"])
        async with client.request("GET", path) as response:
            assert response.status == 200
            found = await response.read()
        async with client.request("GET", path, headers={"Range": "bytes=1-9"}) as response:
            assert (response.status, await response.read()) == (206, found[1:10])
    return found


async def test_a_pull_goes_on_when_the_disk_is_full_and_is_kept_again_when_it_is_not(
    tmp_path: Path, layer: bytes
) -> None:
    with small_disk(tmp_path / "mirror", "16m") as data:
        async with upstream(tmp_path / "hub") as (door, pusher), mirror(data, door) as (live, client):
            await pusher.push_image("app", "1", layer)
            for room in (0, _LAYER // 2, _LAYER + _LAYER // 2):  # none, not for its own file, not for both files
                with (data / "ballast").open("wb", buffering=0) as ballast:
                    free = os.statvfs(data)
                    os.posix_fallocate(ballast.fileno(), 0, free.f_bavail * free.f_bsize - room)
                assert await pulled(client) == layer
                assert not [path for path in live.files if path.stat().st_size == _LAYER]
                (data / "ballast").unlink()
            assert await pulled(client) == layer
            assert [path for path in live.files if path.stat().st_size == _LAYER]
            asked = sum(door.asked.values())
            assert await pulled(client) == layer
            assert sum(door.asked.values()) == asked


async def test_what_is_here_is_served_also_where_it_cannot_be_noted_that_it_is_in_use(tmp_path: Path) -> None:
    with small_disk(tmp_path / "mirror", "16m") as data:
        async with upstream(tmp_path / "hub") as (door, pusher), mirror(data, door) as (live, client):
            pushed = await pusher.push_image("app", "1", b"layer")
            assert await client.status("GET", "/v2/hub/app/manifests/1") == 200
            with contextlib.closing(sqlite3.connect(data / "lumper.db")) as database:  # what it writes next needs room
                assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            with (data / "ballast").open("wb", buffering=0) as ballast:
                free = os.statvfs(data)
                os.posix_fallocate(ballast.fileno(), 0, free.f_bavail * free.f_bsize)
            try:
                with pytest.raises(StorageError):
                    await live.registry.metadata.touch("hub/app", pushed)
                assert await client.status("HEAD", f"/v2/hub/app/manifests/{pushed}") == 200
            finally:
                (data / "ballast").unlink()


async def test_what_passes_without_being_kept_is_whole_and_right_or_an_error(tmp_path: Path, layer: bytes) -> None:
    wrong = layer[:-1] + bytes([layer[-1] ^ 1])

    async def lie(request: web.Request) -> web.Response | None:
        return web.Response(body=wrong) if request.method == "GET" and "/blobs/" in request.path else None

    async def untold(request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" not in request.path:
            return None
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        return answer

    async def short(sent: int, request: web.Request) -> web.StreamResponse | None:
        if request.method != "GET" or "/blobs/" not in request.path:
            return None
        answer = web.StreamResponse(headers={"Content-Length": str(_LAYER)})
        await answer.prepare(request)
        await answer.write(layer[:sent])
        assert request.transport
        request.transport.close()
        return answer

    data = tmp_path / "mirror"
    data.mkdir()
    (data / "arrivals").write_text("where a folder should be")
    async with upstream(tmp_path / "hub") as (door, pusher), mirror(data, door) as (live, client):
        blob = f"/v2/hub/app/blobs/{await pusher.push_blob('app', layer)}"
        for door.first in (lie, partial(short, 0), partial(short, 200_000)):
            with contextlib.suppress(aiohttp.ClientError):  # if a part was handed on before
                assert await client.refusal("GET", blob) == (502, "UPSTREAM_FAILED")
        door.first = untold
        assert await client.refusal("GET", blob) == (503, "UNAVAILABLE")
        door.first = None
        async with client.request("GET", blob) as response:
            assert await response.read() == layer
        assert not live.files


async def test_what_upstream_lacks_is_not_there_also_when_the_disk_is_full(tmp_path: Path, layer: bytes) -> None:
    async def tells_nothing(request: web.Request) -> web.Response | None:
        return web.Response(status=404) if request.method == "HEAD" and "/blobs/" in request.path else None

    with small_disk(tmp_path / "mirror", "16m") as data:
        async with upstream(tmp_path / "hub") as (door, pusher), mirror(data, door) as (_, client):
            blob = f"/v2/hub/app/blobs/{await pusher.push_blob('app', layer)}"
            with (data / "ballast").open("wb", buffering=0) as ballast:
                free = os.statvfs(data)
                os.posix_fallocate(ballast.fileno(), 0, free.f_bavail * free.f_bsize)
            lacking = f"/v2/hub/app/blobs/{digest_of(b'nowhere')}"
            assert await client.status("HEAD", lacking) == 404
            assert await client.refusal("GET", lacking) == (404, "BLOB_UNKNOWN")
            asked = sum(door.asked.values())
            assert await client.refusal("GET", lacking) == (404, "BLOB_UNKNOWN")
            assert sum(door.asked.values()) == asked

            door.first = tells_nothing
            async with client.request("GET", blob) as response:
                assert (response.status, await response.read()) == (200, layer)
            (data / "ballast").unlink()
