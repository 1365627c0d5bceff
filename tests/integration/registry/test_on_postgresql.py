"""One server with its images in a folder and everything else in PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
from functools import partial
from pathlib import Path

import aiohttp
import psycopg

from lumper.model.people.people import Role
from parts.line.several_servers import client_of
from parts.processes.lumper_process import LumperServer
from parts.registries.live_registry import (
    OCI_MANIFEST,
    RegistryClient,
    digest_of,
    image_manifest,
    live_registry,
)
from parts.servers.postgresql import PostgresServer
from parts.servers.tcp_line import LossyLine, opened
from parts.suite.eventually import eventually


async def test_where_the_images_are_in_a_folder_no_other_server_is_told_what_a_push_relies_on(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    url, layer = postgres.fresh(), os.urandom(200_000)
    settings = {"database.url": url, "registry.gc_interval": "1"}
    with LumperServer(tmp_path / "data", settings, role="registry") as server:
        async with client_of(server) as client:
            digest = await client.push_image("a/b", "x", layer)
            again = await client.push_image("a/b", "y", layer)
            found = await client.status("GET", f"/v2/a/b/manifests/{digest}")

    assert (found, again) == (200, digest)
    assert await asyncio.to_thread(_needs, url) == 0


def _needs(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM needs").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_push_whose_commit_is_not_answered_is_refused_and_right_when_it_is_tried_again(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    url = await asyncio.to_thread(postgres.ready)
    with opened(LossyLine("127.0.0.1", postgres.port)) as line:
        through = url.replace(f"127.0.0.1:{postgres.port}", line.address)
        async with live_registry(tmp_path, database_url=through) as live, aiohttp.ClientSession() as session:
            client = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
            await live.database.listen()
            await client.push_image("a/b", "first")
            await client.push_blob("a/b", b"{}")
            for arrives in (True, False):
                tag = f"arrives-{arrives}"
                line.lose(b'"hot": false', arrives=arrives)
                pushing = asyncio.create_task(_pushed(client, tag))
                assert await asyncio.to_thread(line.lost.wait, 30)
                if arrives:
                    await eventually(partial(asyncio.to_thread, _is_tagged, url, tag))
                line.cut()
                assert await pushing == (503, "UNAVAILABLE", "5")
                assert _is_tagged(url, tag) is arrives
                assert await client.status("GET", f"/v2/a/b/manifests/{tag}") == (200 if arrives else 404)
                await client.push_image("a/b", tag)
                assert await client.status("GET", f"/v2/a/b/manifests/{tag}") == 200


async def _pushed(client: RegistryClient, tag: str) -> tuple[int, str, str]:
    """Status, code and when to try again, as a manifest of blobs that are there is refused."""
    links = [(digest_of(data), len(data)) for data in (b"{}", b"layer")]
    body = json.dumps(image_manifest(*links)).encode()
    path = f"/v2/a/b/manifests/{tag}"
    async with client.request("PUT", path, data=body, headers={"Content-Type": OCI_MANIFEST}) as response:
        code = (await response.json())["errors"][0]["code"]
        return response.status, code, response.headers["Retry-After"]


def _is_tagged(url: str, tag: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1 FROM tags WHERE name = %s", (tag,)).fetchone() is not None
