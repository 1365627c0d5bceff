"""Clients that push, pull and delete images at a registry whose garbage is collected all the time."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta

from lumper.model.images.garbage import GarbageKind
from parts.registries.live_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    LiveRegistry,
    RegistryClient,
    digest_of,
    image_index,
    image_manifest,
)

ENOUGH = 10
DONE = ("pushes", "pulls", "uploads", "blobs that were there")
FREED = (GarbageKind.MANIFEST, GarbageKind.LINK, GarbageKind.BYTES)
LAYERS = 20  # that are new in each second
REPOSITORIES = ("one", "two/three")
TAGS = [f"{number}.0" for number in range(8)]


class Missing(Exception):
    """Something that is referred to cannot be read."""


class Refused(Exception):
    """Something that a manifest refers to is not there (any more)."""


@dataclass
class Load:
    """Clients of one registry; `done` counts what they did, `freed` what was collected. What goes wrong is raised.

    It goes on for so many `seconds`, and then until enough has happened, `most_seconds` at most.
    """

    registry: RegistryClient
    grace: timedelta
    seconds: float
    most_seconds: float
    begun: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)
    freed: Counter[GarbageKind] = field(default_factory=Counter)

    @property
    def enough(self) -> bool:
        return all(self.done[what] > ENOUGH for what in DONE) and all(self.freed[kind] > ENOUGH for kind in FREED)

    @property
    def going_on(self) -> bool:
        seconds = time.monotonic() - self.begun
        return seconds < self.seconds or (not self.enough and seconds < self.most_seconds)

    def _layers(self, chance: random.Random) -> list[bytes]:
        """Layers are pushed for two seconds, and once more while they, or what leads to them, are about to go; however
        quick the machine, all are given up for good some time."""
        now, grace = time.monotonic() - self.begun, self.grace.total_seconds()
        layers = []
        for number in chance.sample(range(LAYERS), 2):
            comes_back = 1 + grace * (1.5 + number % 4 / 2)
            second = int(now - chance.choice((0, 1, comes_back)))
            layers.append(f"layer {second}.{number}".encode() * 100)
        return layers

    async def pushes(self, seed: int) -> None:
        chance = random.Random(seed)
        while self.going_on:
            begun = time.monotonic()
            try:
                await self._push(chance.choice(REPOSITORIES), chance)
            except Refused:
                assert time.monotonic() - begun > self.grace.total_seconds(), "what a push needs went within the grace"
                self.done["pushes that took longer than the grace"] += 1
            else:
                self.done["pushes"] += 1

    async def _push(self, repository: str, chance: random.Random) -> None:
        """An index of two images, perhaps within another index; perhaps signed, before it is there or afterwards."""
        children = [await self._image(repository, chance) for _ in range(2)]
        index = json.dumps(image_index(*children)).encode()
        signed, within = chance.random(), chance.random() < 0.2
        if signed < 0.15:
            await self._signature(repository, index, chance)
        await self._manifest(repository, digest_of(index) if within else chance.choice(TAGS), index, OCI_INDEX)
        if within:
            outer = json.dumps(image_index((digest_of(index), len(index)))).encode()
            await self._manifest(repository, chance.choice(TAGS), outer, OCI_INDEX)
            self.done["indexes of indexes"] += 1
        if signed > 0.85:
            await self._signature(repository, index, chance)

    async def _image(self, repository: str, chance: random.Random) -> tuple[str, int]:
        contents = [b'{"seed": %d}' % chance.randrange(40), *self._layers(chance)]
        links = [await self._blob(repository, content, chance) for content in contents]
        if chance.random() < 0.3:  # a layer by its other digest
            links.append(await self._blob(repository, contents[1], chance, "sha512"))
        body = json.dumps(image_manifest(links[0], *links[1:])).encode()
        digest = digest_of(body)
        if await self.registry.status("HEAD", f"/v2/{repository}/manifests/{digest}") == 200:
            self.done["manifests that were there"] += 1
        else:
            await self._manifest(repository, digest, body, OCI_MANIFEST)
        return digest, len(body)

    async def _blob(
        self, repository: str, content: bytes, chance: random.Random, algorithm: str = "sha256"
    ) -> tuple[str, int]:
        """As clients do: ask for it, mount it from somewhere else, or send it."""
        digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
        if await self.registry.status("HEAD", f"/v2/{repository}/blobs/{digest}") == 200:
            self.done["blobs that were there"] += 1
            return digest, len(content)
        begin = f"/v2/{repository}/blobs/uploads/"
        if chance.random() < 0.5:
            other = next(name for name in REPOSITORIES if name != repository)
            async with self.registry.request("POST", f"{begin}?mount={digest}&from={other}") as response:
                if response.status == 201:
                    self.done["mounts"] += 1
                    return digest, len(content)
                assert response.status == 202, await response.text()
                location = response.headers["Location"]
            status = await self.registry.status("PUT", f"{location}?digest={digest}", data=io.BytesIO(content))
        else:
            status = await self.registry.status("POST", f"{begin}?digest={digest}", data=io.BytesIO(content))
        assert status == 201
        self.done["uploads"] += 1
        return digest, len(content)

    async def _manifest(self, repository: str, reference: str, body: bytes, media_type: str) -> None:
        path = f"/v2/{repository}/manifests/{reference}"
        headers = {"Content-Type": media_type}
        async with self.registry.request("PUT", path, data=io.BytesIO(body), headers=headers) as response:
            text = await response.text()
            if response.status == 400 and "MANIFEST_BLOB_UNKNOWN" in text:
                raise Refused
            assert response.status == 201, text

    async def _signature(self, repository: str, index: bytes, chance: random.Random) -> None:
        config = await self._blob(repository, b"{}", chance)
        subject = {"mediaType": OCI_INDEX, "digest": digest_of(index), "size": len(index)}
        body = json.dumps(image_manifest(config, subject=subject)).encode()
        await self._manifest(repository, digest_of(body), body, OCI_MANIFEST)
        self.done["signatures"] += 1

    async def pulls(self, seed: int) -> None:
        chance = random.Random(seed)
        while self.going_on:
            repository, tag = chance.choice(REPOSITORIES), chance.choice(TAGS)
            index = await self._read(f"/v2/{repository}/manifests/{tag}", may_be_gone=True)
            if index:
                await self._in_time(self._pull(repository, index))
                await self._in_time(self._referrers(repository, digest_of(index)))
            self.done["pulls"] += bool(index)

    async def _in_time(self, pull: Awaitable[None]) -> None:
        """Whatever a pull reads is there for the grace."""
        begun = time.monotonic()
        try:
            await pull
        except Missing:
            if time.monotonic() - begun < self.grace.total_seconds():
                raise
            self.done["pulls that took longer than the grace"] += 1

    async def _pull(self, repository: str, body: bytes) -> None:
        manifest = json.loads(body)
        for child in manifest.get("manifests", ()):
            await self._pull(repository, await self._read(f"/v2/{repository}/manifests/{child['digest']}"))
        for blob in (manifest["config"], *manifest["layers"]) if "config" in manifest else ():
            content = await self._read(f"/v2/{repository}/blobs/{blob['digest']}")
            algorithm, _, encoded = blob["digest"].partition(":")
            assert hashlib.new(algorithm, content).hexdigest() == encoded

    async def _referrers(self, repository: str, subject: str) -> None:
        """Whatever signs it is whole; it may go while the list is read."""
        for one in json.loads(await self._read(f"/v2/{repository}/referrers/{subject}"))["manifests"]:
            body = await self._read(f"/v2/{repository}/manifests/{one['digest']}", may_be_gone=True)
            if body:
                await self._pull(repository, body)
                self.done["signatures that were read"] += 1

    async def _read(self, path: str, *, may_be_gone: bool = False) -> bytes:
        async with self.registry.request("GET", path) as response:
            content: bytes = await response.read()
            if may_be_gone and response.status == 404:
                return b""
            if response.status != 200:
                raise Missing(path, content)
            return content

    async def deletions(self, seed: int) -> None:
        """Tags and whole indexes go all the time."""
        chance = random.Random(seed)
        while self.going_on:
            path = f"/v2/{chance.choice(REPOSITORIES)}/manifests/{chance.choice(TAGS)}"
            async with self.registry.request("HEAD", path) as response:
                digest = response.headers.get("Docker-Content-Digest")
            if digest and chance.random() < 0.5:
                path = path.rpartition("/")[0] + "/" + digest
            assert await self.registry.status("DELETE", path) in (202, 404)
            self.done["deletions"] += 1
            await pause(0.05)


async def pause(seconds: float) -> None:
    await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=seconds)


async def clients(group: asyncio.TaskGroup, load: Load) -> None:
    """Three clients push, three pull and one deletes."""
    group.create_task(load.deletions(1))
    for seed in range(2, 5):
        group.create_task(load.pushes(seed))
        group.create_task(load.pulls(10 * seed))


async def under_load(live: LiveRegistry, load: Load, every: float) -> None:
    """Three clients push, three pull and one deletes, while garbage is collected `every` so many seconds."""

    async def collect() -> None:
        while load.going_on:
            load.freed.update((await live.registry.collector.run()).counts)
            await pause(every)

    async with asyncio.TaskGroup() as group:
        group.create_task(collect())
        await clients(group, load)


async def all_deleted(load: Load) -> None:
    """Delete all tags."""
    for repository in REPOSITORIES:
        for tag in TAGS:
            await load.registry.status("DELETE", f"/v2/{repository}/manifests/{tag}")


async def given_back(live: LiveRegistry, load: Load, every: float, longest: float) -> bool:
    """Delete all tags; whether the storage is empty before `longest` seconds have passed."""
    await all_deleted(load)
    until = time.monotonic() + longest
    while live.files and time.monotonic() < until:
        await live.registry.collector.run()
        await live.registry.names.tell()
        await pause(every)
    return not live.files
