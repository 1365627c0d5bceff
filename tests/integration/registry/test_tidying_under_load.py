"""Retention and the collection run all the time, under pushes and undos: nothing is lost that may come back."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from lumper.errors import Conflict, LumperError
from lumper.model.images.activity import Activity, Actor, AuditAction
from lumper.model.images.rules import Keep, Rule
from lumper.model.people.people import Role
from lumper.registry.gc.collector import Policy
from lumper.registry.reference import Reference
from parts.registries.live_registry import LiveRegistry, RegistryClient, digest_of, live_registry

SECONDS, MOST_SECONDS = 8.0, 60.0  # of load, until enough has happened; then what was given up has to be gone
ENOUGH = 10
GRACE, UNDO = timedelta(seconds=1), timedelta(seconds=4)
COMES_BACK = 7  # seconds; what two seconds of pushes have left is due for collection then
SURE = timedelta(seconds=2)  # what a tag has left for less than this must be there
ANN = Actor("ann", "admin")
FROZEN = [f"v{number}" for number in range(3)]


@dataclass
class Load:
    """Clients of one registry; `done` counts what they did. Everything that goes wrong is raised."""

    live: LiveRegistry
    client: RegistryClient
    begun: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)

    @property
    def enough(self) -> bool:
        return all(self.done[what] > ENOUGH for what in ("pushes", "undos", "undos of retention", "freed"))

    @property
    def going_on(self) -> bool:
        seconds = time.monotonic() - self.begun
        return seconds < SECONDS or (not self.enough and seconds < MOST_SECONDS)

    async def pushes(self, seed: int) -> None:
        chance = random.Random(seed)
        while self.going_on:
            tag, layer = f"t{chance.randrange(12)}", f"layer {self._generation(chance)}.{chance.randrange(6)}"
            begun = time.monotonic()
            try:
                await self.client.push_image("app", tag, layer.encode() * 50)
                self.done["pushes"] += 1
            except AssertionError:  # what it needs is there for the grace
                if time.monotonic() - begun < GRACE.total_seconds():
                    raise
                self.done["pushes that took longer than the grace"] += 1

    def _generation(self, chance: random.Random) -> int:
        """Layers are pushed for two seconds, and once more when they are about to go; however quick the machine,
        all are given up for good some time."""
        return int(time.monotonic() - self.begun) - chance.choice((0, 1, COMES_BACK))

    async def undos(self) -> None:
        """What a tag has left a moment ago is there, and the tag can go back to it."""
        chance = random.Random(7)
        while self.going_on:
            since = datetime.now(UTC) - SURE
            metadata = self.live.registry.metadata
            pushed = await metadata.activities(repository="app", limit=20)
            retained = await metadata.activities(repository="app", action=AuditAction.UNTAG, limit=20)
            left = [one for one in (*pushed, *retained) if one.before and one.at > since]
            if left:
                one = chance.choice(left)
                try:
                    await self._undo(one)
                except (AssertionError, LumperError):  # the time for it is over on a machine that stood still
                    if datetime.now(UTC) < one.at + UNDO:
                        raise
                    self.done["undos that came too late"] += 1
            await _pause(0.02)

    async def _undo(self, one: Activity) -> None:
        self.done["undos of retention"] += one.action is AuditAction.UNTAG
        try:
            await self.live.registry.tags.retag(Reference("app", one.tag), one.before, ANN)
            self.done["undos"] += 1
        except Conflict:
            self.done["moved meanwhile"] += 1
        await self.whole(one.before)

    async def whole(self, reference: str) -> None:
        """Everything that the image needs can be read."""
        manifest = json.loads(await self._read(f"/v2/app/manifests/{reference}"))
        for blob in (manifest["config"], *manifest["layers"]):
            assert digest_of(await self._read(f"/v2/app/blobs/{blob['digest']}")) == blob["digest"]

    async def _read(self, path: str) -> bytes:
        async with self.client.request("GET", path) as response:
            content: bytes = await response.read()
            assert response.status == 200, (path, content)
            return content

    async def collections(self) -> None:
        while self.going_on:
            report = await self.live.registry.collector.run()
            self.done["freed"] += report.freed
            await _pause(0.1)


async def _pause(seconds: float) -> None:
    await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=seconds)


async def _tagged(live: LiveRegistry) -> set[str]:
    return {state.digest for state in await live.registry.metadata.tag_states("app")}


async def _there(live: LiveRegistry, digests: set[str]) -> list[str]:
    return [one for one in digests if await live.registry.metadata.manifest("app", one)]


async def test_nothing_is_lost_that_a_tag_may_go_back_to_and_the_rest_goes(tmp_path: Path) -> None:
    policy = Policy(GRACE, undo=UNDO, untagged=True)
    async with live_registry(tmp_path, policy=policy) as live, aiohttp.ClientSession() as session:
        client = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        frozen = {tag: await client.push_image("app", tag, tag.encode()) for tag in FROZEN}
        await live.registry.metadata.set_rule(Rule("**", immutable=("v*",), keep=Keep(last=4)), ANN)
        load = Load(live, client)

        async with asyncio.TaskGroup() as group:
            group.create_task(load.collections())
            group.create_task(load.undos())
            for seed in range(3):
                group.create_task(load.pushes(seed))

        print(dict(load.done))
        assert load.enough
        told = await live.registry.metadata.activities(repository="app", action=AuditAction.UNTAG, limit=1000)
        assert {one.actor.name for one in told} == {"retention"}

        until = time.monotonic() + 60
        while (kept := await _tagged(live)) and len(kept) > 4 + len(FROZEN) and time.monotonic() < until:
            await live.registry.collector.run()
        assert kept >= set(frozen.values())
        assert len(kept) <= 4 + len(FROZEN)
        given_up = {digest for one in told if (digest := one.before) not in kept}
        while (there := await _there(live, given_up)) and time.monotonic() < until:
            await live.registry.collector.run()
            await _pause(0.2)
        assert there == []
        for digest in kept:
            await load.whole(digest)
        assert [flaw async for flaw in live.registry.verifier.run() if hasattr(flaw, "why")] == []
