"""How long that is kept which came from upstream, and what brings it back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import select, update

from lumper.model.images.activity import Actor
from lumper.model.images.garbage import GarbageKind
from lumper.model.images.rules import Rule
from lumper.registry.catalog.collection import TOPIC
from lumper.registry.gc.collector import Policy
from lumper.registry.rebuild import Rebuilt
from lumper.store import tables
from lumper.store.database import changed
from parts.registries.live_registry import LiveRegistry, RegistryClient, digest_of
from parts.registries.mirror import Mirror, body, digest
from parts.registries.upstream import Door
from parts.suite.eventually import eventually


async def test_what_nobody_asks_for_is_collected(pusher: RegistryClient, mirror: Mirror) -> None:
    await pusher.push_image("app", "1")
    policy = Policy(timedelta(0))

    async with mirror(policy, keep=timedelta(0)) as (live, client):
        manifest = json.loads(await body(client, "/v2/hub/app/manifests/1"))
        await body(client, f"/v2/hub/app/blobs/{manifest['layers'][0]['digest']}")
        await client.push_image("own", "1", b"stays")

        dry = await live.registry.collector.run(dry_run=True)
        assert dry.counts[GarbageKind.CACHED] == 1

        async def only_ours_is_left() -> bool:  # what loses its last reason is young for a moment
            await live.registry.collector.run()
            return len([file for file in live.files if "blobs" in file.parts]) == 3  # a config, a layer and a manifest

        await eventually(only_ours_is_left)
        assert await live.registry.metadata.tags("hub/app") == []
        assert await client.status("GET", "/v2/own/manifests/1") == 200
        assert await client.status("GET", "/v2/hub/app/manifests/1") == 200


async def made_older(live: LiveRegistry, hours: int) -> datetime:
    """What is cached was last used so many hours ago."""
    then = datetime.now(UTC) - timedelta(hours=hours)
    async with live.database.write() as connection:
        await connection.execute(update(tables.tags).values(updated_at=then))
        await connection.execute(update(tables.manifests).values(pushed_at=then))
        changed(connection, TOPIC, "hub/app")
    return then


@pytest.mark.parametrize("away", [False, True])
async def test_what_is_asked_for_is_noted_as_in_use_every_few_hours_also_while_upstream_is_away(
    door: Door, pusher: RegistryClient, mirror: Mirror, away: bool
) -> None:
    await pusher.push_image("app", "1")

    async def nothing(_request: web.Request) -> web.Response:
        return web.Response(status=403)

    async with mirror(ttl=0.0) as (live, client):
        pushed = await digest(client, "/v2/hub/app/manifests/1")
        door.first = nothing if away else None
        for hours, noted in [(7, True)] if away else [(5, False), (7, True)]:
            then = await made_older(live, hours)
            assert await digest(client, "/v2/hub/app/manifests/1") == pushed
            tag = await live.registry.metadata.tag("hub/app", "1")
            assert tag is not None
            assert (tag.updated_at > then) is noted
        for noted in (True, False):  # by digest, of which this process knows when it has done so
            then = await made_older(live, 7)
            assert await digest(client, f"/v2/hub/app/manifests/{pushed}") == pushed
            async with live.database.read() as connection:
                assert ((await connection.execute(select(tables.manifests.c.pushed_at))).scalar_one() > then) is noted


async def test_of_cached_tags_that_nobody_asks_for_an_immutable_one_stays_and_the_others_go(
    pusher: RegistryClient, mirror: Mirror
) -> None:
    for tag in ("1", "2"):
        await pusher.push_image("app", tag, tag.encode())

    async with mirror(Policy(timedelta(0)), keep=timedelta(0)) as (live, client):
        metadata = live.registry.metadata
        await metadata.set_rule(Rule("hub/**", immutable=("1",)), Actor("ann", "admin"))
        for tag in ("1", "2"):
            await body(client, f"/v2/hub/app/manifests/{tag}")

        dry = await live.registry.collector.run(dry_run=True)
        report = await live.registry.collector.run()

        assert [one.name for one in dry.garbage if one.kind is GarbageKind.CACHED] == ["2"]
        assert [one.name for one in report.garbage if one.kind is GarbageKind.CACHED] == ["2"]
        assert [tag.name for tag in await metadata.tags("hub/app") or []] == ["1"]


async def test_what_was_cached_comes_from_upstream_again_when_the_database_is_lost(
    tmp_path: Path, mirror: Mirror, pusher: RegistryClient
) -> None:
    digest = await pusher.push_image("team/app", "1.0")
    async with mirror() as (live, client):
        assert await client.status("GET", "/v2/hub/team/app/manifests/1.0") == 200
        own = await client.push_image("own", "1.0", b"mine")
    for file in (tmp_path / "mirror").glob("lumper.db*"):
        file.unlink()

    async with mirror() as (live, client):
        told = [one async for one in live.registry.rebuilder.run()]

        assert isinstance(told[-1], Rebuilt)
        assert (told[-1].manifests, told[-1].tags) == (1, 1)
        assert await client.status("GET", f"/v2/own/manifests/{own}") == 200
        assert await client.status("GET", f"/v2/hub/team/app/manifests/{digest}") == 200
        for name in (b"layer", b'{"architecture":"amd64","os":"linux"}'):
            async with client.request("GET", f"/v2/hub/team/app/blobs/{digest_of(name)}") as response:
                assert digest_of(await response.read()) == digest_of(name)
