"""Registries that are killed while clients push, and what has to be so when they are started again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from lumper.model.people.people import Role
from parts.registries import live_registry as live_registry_module
from parts.registries.live_registry import RegistryClient, digest_of, live_registry

KIB, MIB = 1 << 10, 1 << 20
MOST_CHUNKS = 40  # that are taken before a kill


@contextlib.asynccontextmanager
async def served(data: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A registry in a process of its own, which is killed at the end at the latest."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", live_registry_module.__name__, str(data)),
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
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


def wrong_blobs(data: Path, right: set[Path]) -> list[Path]:
    """The files whose bytes have another digest than their name says; those that are `right` are not read again."""
    files = {path for path in (data / "registry" / "blobs").rglob("*") if path.is_file()}
    wrong = [path for path in files - right if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]
    right |= files.difference(wrong)
    return wrong


async def killed(data: Path, rounds: int, seed: int) -> int:
    """Serve a folder, kill the process while three clients push to it, look at what is there, and all that again.

    How many blobs were acknowledged; in the end each of them is read once more. Raises AssertionError.
    """
    dice = random.Random(seed)
    acknowledged: list[str] = []
    right: set[Path] = set()
    token = ""
    for number in range(rounds):
        async with served(data) as (process, url), aiohttp.ClientSession() as session:
            token = (data / f"{Role.ADMIN}.token").read_text().strip()
            chunks = asyncio.Semaphore(0)
            pushers = [Pusher(RegistryClient(session, url, token), chunks) for _ in range(3)]
            pushing = [asyncio.create_task(one.push(hash((seed, number, i)))) for i, one in enumerate(pushers)]
            for _ in range(dice.randrange(1, MOST_CHUNKS)):
                await chunks.acquire()
            process.kill()
            await process.wait()
            await asyncio.gather(*pushing)

        assert await asyncio.to_thread(wrong_blobs, data, right) == []
        new = [digest for pusher in pushers for digest in pusher.pushed]
        acknowledged += new
        async with live_registry(data) as live, aiohttp.ClientSession() as session:
            client = RegistryClient(session, live.url, token)
            await all_there(client, new)
            for pusher in pushers:
                if pusher.open is not None:
                    await goes_on_or_is_gone(client, *pusher.open)
    async with live_registry(data) as live, aiohttp.ClientSession() as session:
        await all_there(RegistryClient(session, live.url, token), acknowledged)
    assert await asyncio.to_thread(wrong_blobs, data, set()) == []
    return len(acknowledged)


async def all_there(client: RegistryClient, digests: Sequence[str]) -> None:
    """Each can be read, and is what its digest says."""
    for digest in digests:
        async with client.request("GET", f"/v2/a/blobs/{digest}") as response:
            assert digest_of(await response.read()) == digest


async def goes_on_or_is_gone(client: RegistryClient, location: str, data: bytes) -> None:
    async with client.request("GET", location) as response:
        if response.status == 404:
            return
        last = int(response.headers["Range"].partition("-")[2])
    kept = last + 1 if last else 0
    rest = io.BytesIO(data[kept:])
    status = await client.status("PUT", f"{location}?digest={digest_of(data)}", data=rest)
    assert status == 201
