"""Clients of a registry that write down in a ledger what it has acknowledged."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from parts.disks.power_ledger import GONE, Kind, Ledger, Thing
from parts.registries.live_registry import OCI_MANIFEST, RegistryClient, digest_of, image_manifest

_CHUNK = 1 << 20
_SIZES = (10, 900, 20_000, 60_000)  # bytes of small blobs
_LARGE = (_CHUNK * 2 + 7, 100_000, 5 * _CHUNK)
_TAGS = ("1.0", "2.0", "latest")


@dataclass
class PowerLoad:
    """`now` tells the moment, by which the ledger orders everything."""

    registry: RegistryClient
    now: Callable[[], int]
    ledger: Ledger = field(default_factory=Ledger)
    done: Counter[str] = field(default_factory=Counter)
    shared: list[tuple[str, str]] = field(default_factory=list)  # repositories and blobs that stay there

    async def run(self, clients: int, steps: int, seed: int) -> None:
        """So many clients at the same time, each in a repository of its own."""
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(_Client(self, f"team/app{number}", random.Random(seed + number)).run(steps))

    async def changed(self, changes: dict[Thing, str], ask: Callable[[], Awaitable[bool]]) -> bool:
        """Ask for these changes; whether they were done, or nothing was."""
        for thing, value in changes.items():
            self.ledger.begin(thing, value, self.now())
        done = await ask()
        for thing in changes:
            self.ledger.told(thing, self.now(), refused=not done)
        return done


class _Client:
    def __init__(self, load: PowerLoad, repository: str, chance: random.Random) -> None:
        self._load = load
        self._registry = load.registry
        self._repository = repository
        self._chance = chance
        self._past: dict[str, str] = {}  # where a tag was before

    async def run(self, steps: int) -> None:
        """Images, and what else comes to mind."""
        others = (self._retag, self._undo, self._untag, self._mount, self._blob_goes, self._manifest_goes)
        for _ in range(steps):
            await self._image()
            await self._chance.choice(others)()

    def _thing(self, kind: Kind, name: str) -> Thing:
        return Thing(kind, self._repository, name)

    async def _did(self, what: str, changes: dict[Thing, str], ask: Callable[[], Awaitable[bool]]) -> bool:
        done = await self._load.changed(changes, ask)
        self._load.done[what if done else f"{what}, refused"] += 1
        return done

    async def _asked(self, *accepted: int, method: str, path: str, **options: object) -> bool:
        status = await self._registry.status(method, path, **options)
        assert status in accepted or status in (404, 409), (method, path, status)
        return status in accepted

    async def _image(self) -> None:
        sizes = [self._chance.choice(_SIZES) for _ in range(self._chance.randrange(1, 4))]
        if self._chance.random() < 0.2:
            sizes.append(self._chance.choice(_LARGE))
        blobs = [self._chance.randbytes(size) for size in (100, *sizes)]
        async with asyncio.TaskGroup() as group:
            for blob in blobs:
                group.create_task(self._push(blob))
        links = [(digest_of(blob), len(blob)) for blob in blobs]
        body = json.dumps(image_manifest(links[0], *links[1:])).encode()
        tag, digest = self._chance.choice(_TAGS), digest_of(body)
        await self._did(
            "manifests",
            {self._thing(Kind.TAG, tag): digest, self._thing(Kind.MANIFEST, digest): digest},
            lambda: self._asked(
                201,
                method="PUT",
                path=f"/v2/{self._repository}/manifests/{tag}",
                data=io.BytesIO(body),
                headers={"Content-Type": OCI_MANIFEST},
            ),
        )
        self._load.shared += [(self._repository, link[0]) for link in links]

    async def _push(self, data: bytes) -> None:
        digest = digest_of(data)
        how = self._chunked if len(data) > _CHUNK else self._chance.choice((self._at_once, self._in_two))
        what = "large blobs" if len(data) > max(_SIZES) else "small blobs"
        await self._did(what, {self._thing(Kind.BLOB, digest): digest}, lambda: how(digest, data))

    async def _at_once(self, digest: str, data: bytes) -> bool:
        path = f"/v2/{self._repository}/blobs/uploads/?digest={digest}"
        return await self._asked(201, method="POST", path=path, data=io.BytesIO(data))

    async def _in_two(self, digest: str, data: bytes) -> bool:
        location = await self._registry.begin(self._repository)
        return await self._asked(201, method="PUT", path=f"{location}?digest={digest}", data=io.BytesIO(data))

    async def _chunked(self, digest: str, data: bytes) -> bool:
        location = await self._registry.begin(self._repository)
        for start in range(0, len(data), _CHUNK):
            chunk = io.BytesIO(data[start : start + _CHUNK])
            assert await self._registry.status("PATCH", location, data=chunk) == 202
        return await self._asked(201, method="PUT", path=f"{location}?digest={digest}")

    def _tags(self) -> Sequence[str]:
        return [tag for tag in _TAGS if self._load.ledger.value(self._thing(Kind.TAG, tag))]

    async def _moved(self, what: str, tag: str, digest: str, wanted: dict[str, object]) -> None:
        path = f"/api/v1/images/{self._repository}:{tag}"
        ask = lambda: self._asked(200, method="PUT", path=path, json=wanted)  # noqa: E731
        await self._did(what, {self._thing(Kind.TAG, tag): digest}, ask)

    async def _retag(self) -> None:
        tags = self._tags()
        if tags:
            digest = self._load.ledger.value(self._thing(Kind.TAG, self._chance.choice(tags)))
            await self._moved("retags", self._chance.choice(_TAGS), digest, {"to": digest})

    async def _undo(self) -> None:
        tag = self._chance.choice(_TAGS)
        async with self._registry.request("GET", f"/api/v1/history/{self._repository}:{tag}") as response:
            past = await response.json()
        if past and past[0]["before"]:
            await self._moved("undone", tag, past[0]["before"], {"undo": True})

    async def _untag(self) -> None:
        if tag := next(iter(self._tags()), ""):
            path = f"/v2/{self._repository}/manifests/{tag}"
            thing = self._thing(Kind.TAG, tag)
            await self._did("tags deleted", {thing: GONE}, lambda: self._asked(202, method="DELETE", path=path))

    async def _manifest_goes(self) -> None:
        if tag := next(iter(self._tags()), ""):
            digest = self._load.ledger.value(self._thing(Kind.TAG, tag))
            gone = [self._thing(Kind.TAG, one) for one in self._tags()]
            gone = [one for one in gone if self._load.ledger.value(one) == digest]
            path = f"/v2/{self._repository}/manifests/{digest}"
            changes = dict.fromkeys([*gone, self._thing(Kind.MANIFEST, digest)], GONE)
            await self._did("manifests deleted", changes, lambda: self._asked(202, method="DELETE", path=path))

    async def _mount(self) -> None:
        if self._load.shared:
            source, digest = self._chance.choice(self._load.shared)
            if source != self._repository:
                path = f"/v2/{self._repository}/blobs/uploads/?mount={digest}&from={source}"
                change = {self._thing(Kind.BLOB, digest): digest}
                await self._did("mounts", change, lambda: self._asked(201, method="POST", path=path))

    async def _blob_goes(self) -> None:
        data = self._chance.randbytes(self._chance.choice(_SIZES))
        await self._push(data)
        digest = digest_of(data)
        path = f"/v2/{self._repository}/blobs/{digest}"
        change = {self._thing(Kind.BLOB, digest): GONE}
        await self._did("blobs deleted", change, lambda: self._asked(202, method="DELETE", path=path))


async def wrong(load: PowerLoad, registry: RegistryClient, moment: int) -> list[str]:
    """What a registry that was started after a power failure at this moment serves, and should not, or does not."""
    found: list[str] = []
    for thing in load.ledger.things(moment):
        right, value = load.ledger.right(thing, moment), await _value(registry, thing)
        if value not in right:
            found.append(f"{thing.kind} {thing.repository} {thing.name} is {value!r}, not one of {right}")
    return found


async def _value(registry: RegistryClient, thing: Thing) -> str:
    """The digest of what is served, "" for 404."""
    kind = Kind.BLOB if thing.kind is Kind.BLOB else Kind.MANIFEST
    async with registry.request("GET", f"/v2/{thing.repository}/{kind}/{thing.name}") as response:
        if response.status == 404:
            return GONE
        body = await response.read()
        return digest_of(body) if response.status == 200 else f"status {response.status}"
