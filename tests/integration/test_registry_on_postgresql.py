"""One server with its images in a folder and everything else in PostgreSQL."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psycopg

from parts.lumper_process import LumperServer
from parts.postgresql import PostgresServer
from parts.several_servers import client_of


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
