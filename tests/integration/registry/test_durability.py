"""What is under a digest has that digest: after kill -9 at any moment, and on a full disk."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from lumper.model.people.people import Role
from parts.disks.small_disk import small_disk
from parts.registries.live_registry import RegistryClient, digest_of, live_registry
from parts.registries.registry_kills import MIB, goes_on_or_is_gone, killed
from parts.servers.raw_http import head, sent

pytestmark = pytest.mark.system


async def test_after_kill_9_every_blob_is_whole_and_every_upload_goes_on_or_is_gone(tmp_path: Path) -> None:
    assert await killed(tmp_path, rounds=3, seed=9)


@pytest.fixture
def full_soon(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    with small_disk(tmp_path / "small", "8m") as place:
        yield place


async def test_a_full_disk_is_told_and_nothing_that_was_stored_is_lost(full_soon: Path, tmp_path: Path) -> None:
    async with (
        live_registry(tmp_path, registry_folder=full_soon / "registry") as live,
        aiohttp.ClientSession() as session,
    ):
        client = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        first = await client.push_blob("a", os.urandom(5 * MIB))
        data = os.urandom(5 * MIB)

        at_once = f"/v2/a/blobs/uploads/?digest={digest_of(data)}"
        async with client.request("POST", at_once, data=io.BytesIO(data)) as response:
            assert (await response.json())["errors"][0]["code"] == "STORAGE_FULL"
            assert (response.status, response.reason) == (507, "no space left on device")  # so docker gives up
        location = await client.begin("a")
        assert await client.refusal("PATCH", location, data=io.BytesIO(data)) == (507, "STORAGE_FULL")

        async with client.request("GET", f"/v2/a/blobs/{first}") as response:
            assert digest_of(await response.read()) == first
        assert await client.status("GET", f"/v2/a/blobs/{digest_of(data)}") == 404
        assert await client.status("DELETE", location) == 204
        await client.push_blob("a", os.urandom(2 * MIB))


async def test_who_sends_everything_before_it_reads_is_told_of_a_full_disk_too(full_soon: Path, tmp_path: Path) -> None:
    async with live_registry(tmp_path, registry_folder=full_soon / "registry") as live:
        assert live.runner.server is not None
        live.runner.server._kwargs["lingering_time"] = 3600.0  # what is still sent is thrown away for so long
        size = 32 * MIB
        post = head(live, "POST", f"/v2/a/blobs/uploads/?digest={digest_of(b'')}", b"Content-Length: %d\r\n" % size)

        got, came = await sent(live, post, bytes(size), answers=1)

        assert got == [507], came


async def test_an_upload_goes_on_when_there_is_space_again(full_soon: Path, tmp_path: Path) -> None:
    async with (
        live_registry(tmp_path, registry_folder=full_soon / "registry") as live,
        aiohttp.ClientSession() as session,
    ):
        client = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        ballast = full_soon / "ballast"
        await asyncio.to_thread(ballast.write_bytes, bytes(5 * MIB))
        data = os.urandom(5 * MIB)
        location = await client.begin("a")
        assert await client.status("PATCH", location, data=io.BytesIO(data)) == 507
        await asyncio.to_thread(ballast.unlink)

        await goes_on_or_is_gone(client, location, data)

        async with client.request("GET", f"/v2/a/blobs/{digest_of(data)}") as response:
            assert digest_of(await response.read()) == digest_of(data)
