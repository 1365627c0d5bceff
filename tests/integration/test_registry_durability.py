"""What is under a digest has that digest: after kill -9 at any moment, and on a full disk."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import random
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from lumper.model.people import Role
from parts import live_registry as live_registry_module
from parts.live_registry import RegistryClient, digest_of, live_registry
from parts.small_disk import small_disk

KIB, MIB = 1 << 10, 1 << 20


@contextlib.asynccontextmanager
async def served(data: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A registry in a process of its own, which is killed at the end at the latest."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, live_registry_module.__file__, str(data), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    try:
        yield process, url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass
class Pusher:
    """Pushes one blob after the other, in chunks, and notes what the registry has acknowledged."""

    client: RegistryClient
    chunks: asyncio.Semaphore
    pushed: list[str] = field(default_factory=list)
    open: tuple[str, bytes] | None = None

    async def push(self, seed: int) -> None:
        """Push until the connection breaks."""
        dice = random.Random(seed)
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            while True:
                data = dice.randbytes(dice.choice([10, 20 * KIB, 3 * MIB + 7]))
                location = await self.client.begin("a")
                self.open = (location, data)
                for start in range(0, len(data), MIB):
                    chunk = io.BytesIO(data[start : start + MIB])
                    assert await self.client.status("PATCH", location, data=chunk) == 202
                    self.chunks.release()
                assert await self.client.status("PUT", f"{location}?digest={digest_of(data)}") == 201
                self.open = None
                self.pushed.append(digest_of(data))


def wrong_blobs(data: Path) -> list[Path]:
    """The files whose bytes have another digest than their name says."""
    files = [path for path in (data / "registry" / "blobs").rglob("*") if path.is_file()]
    return [path for path in files if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]


async def test_after_kill_9_every_blob_is_whole_and_every_upload_goes_on_or_is_gone(tmp_path: Path) -> None:
    dice = random.Random(9)
    acknowledged: list[str] = []
    for round_number in range(3):
        async with served(tmp_path) as (process, url), aiohttp.ClientSession() as session:
            token = (tmp_path / f"{Role.ADMIN}.token").read_text().strip()
            chunks = asyncio.Semaphore(0)
            pushers = [Pusher(RegistryClient(session, url, token), chunks) for _ in range(3)]
            pushing = [
                asyncio.create_task(pusher.push(100 * round_number + number)) for number, pusher in enumerate(pushers)
            ]
            for _ in range(dice.randrange(1, 40)):
                await chunks.acquire()
            process.kill()
            await asyncio.gather(*pushing)

        assert await asyncio.to_thread(wrong_blobs, tmp_path) == []
        acknowledged += [digest for pusher in pushers for digest in pusher.pushed]
        async with live_registry(tmp_path) as live, aiohttp.ClientSession() as session:
            client = RegistryClient(session, live.url, token)
            for digest in acknowledged:
                async with client.request("GET", f"/v2/a/blobs/{digest}") as response:
                    assert digest_of(await response.read()) == digest
            for pusher in pushers:
                if pusher.open is not None:
                    await goes_on_or_is_gone(client, *pusher.open)


async def goes_on_or_is_gone(client: RegistryClient, location: str, data: bytes) -> None:
    async with client.request("GET", location) as response:
        if response.status == 404:
            return
        last = int(response.headers["Range"].partition("-")[2])
    kept = last + 1 if last else 0
    rest = io.BytesIO(data[kept:])
    status = await client.status("PUT", f"{location}?digest={digest_of(data)}", data=rest)
    assert status == 201


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
        assert await client.refusal("POST", at_once, data=io.BytesIO(data)) == (507, "STORAGE_FULL")
        location = await client.begin("a")
        assert await client.refusal("PATCH", location, data=io.BytesIO(data)) == (507, "STORAGE_FULL")

        async with client.request("GET", f"/v2/a/blobs/{first}") as response:
            assert digest_of(await response.read()) == first
        assert await client.status("GET", f"/v2/a/blobs/{digest_of(data)}") == 404
        assert await client.status("DELETE", location) == 204
        await client.push_blob("a", os.urandom(2 * MIB))


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
