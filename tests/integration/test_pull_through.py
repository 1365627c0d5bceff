"""A registry that mirrors others: a real one behind a door that counts, slows, breaks and lies."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import select, update

from lumper.cli.progress import Quiet
from lumper.history import tables
from lumper.history.collection import TOPIC
from lumper.history.database import changed
from lumper.model.activity import Actor
from lumper.model.garbage import GarbageKind
from lumper.model.people import Role
from lumper.model.rules import Rule
from lumper.registry.gc.collector import Policy
from lumper.registry.rebuild import Rebuilt
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.connection import Patience
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.transfer.copy import Copier
from lumper.registry.transfer.source import RemoteSource
from lumper.registry.upstream.upstreams import Upstream
from parts.eventually import eventually
from parts.live_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    LiveRegistry,
    RegistryClient,
    digest_of,
    image_index,
    image_manifest,
    live_registry,
)
from parts.raw_http import head, sent
from parts.upstream import Door, basic, upstream

CLOSE = b"Connection: close\r\n"
QUICK = Patience(attempts=2, longest=0.1, connect=60, idle=60)
Pulling = AbstractAsyncContextManager[tuple[LiveRegistry, RegistryClient]]
Mirror = Callable[..., Pulling]


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[tuple[Door, RegistryClient]]:
    async with upstream(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def door(hub: tuple[Door, RegistryClient]) -> Door:
    return hub[0]


@pytest.fixture
def pusher(hub: tuple[Door, RegistryClient]) -> RegistryClient:
    return hub[1]


@pytest.fixture
def mirror(tmp_path: Path, door: Door) -> Mirror:
    """Our registry, with the hub under `hub/`; the settings are those of the upstream."""

    @asynccontextmanager
    async def mirror(
        policy: Policy | None = None, **settings: Any
    ) -> AsyncIterator[tuple[LiveRegistry, RegistryClient]]:
        data = tmp_path / "mirror"
        data.mkdir(exist_ok=True)
        one = Upstream("hub", RemoteRegistry(door.url, patience=QUICK), **settings)
        async with (
            live_registry(data, upstreams=[one], policy=policy) as live,
            aiohttp.ClientSession() as session,
        ):
            yield live, RegistryClient(session, live.url, live.tokens[Role.ADMIN])

    return mirror


async def body(client: RegistryClient, path: str, **options: Any) -> bytes:
    async with client.request("GET", path, **options) as response:
        assert response.status == 200, await response.text()
        return bytes(await response.read())


async def digest(client: RegistryClient, path: str) -> str:
    async with client.request("HEAD", path) as response:
        assert response.status == 200
        return str(response.headers["Docker-Content-Digest"])


async def test_an_image_comes_from_upstream_once(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    layer = os.urandom(300_000)
    pushed = await pusher.push_image("team/app", "1.0", layer)

    async with mirror() as (_, client):
        for _ in range(2):
            manifest = json.loads(await body(client, "/v2/hub/team/app/manifests/1.0"))
            assert await digest(client, f"/v2/hub/team/app/manifests/{pushed}") == pushed
            for link in (manifest["config"], *manifest["layers"]):
                assert len(await body(client, f"/v2/hub/team/app/blobs/{link['digest']}")) == link["size"]
        assert await body(client, f"/v2/hub/team/app/blobs/{manifest['layers'][0]['digest']}") == layer

    assert door.count("GET", "/team/app/manifests/1.0") == 1
    assert door.count("GET", manifest["layers"][0]["digest"]) == 1


async def test_many_pulls_of_one_layer_are_one_download_and_all_see_it_arrive(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(3_000_000)
    blob = await pusher.push_blob("app", layer)
    door.gate = asyncio.Event()

    async with mirror() as (live, client):

        async def pull() -> bytes:
            async with client.request("GET", f"/v2/hub/app/blobs/{blob}") as response:
                assert response.status == 200
                first = await response.content.readany()
                begun.release()
                return bytes(first + await response.read())

        begun = asyncio.Semaphore(0)
        pulls = [asyncio.create_task(pull()) for _ in range(20)]
        for _ in pulls:  # all have bytes, while upstream holds back the rest
            await asyncio.wait_for(begun.acquire(), 60)
        pulls[0].cancel()
        door.gate.set()

        assert all(found == layer for found in await asyncio.gather(*pulls[1:]))
        assert door.count("GET", blob) == 1
        assert [file.parent.parent.name for file in live.files] == ["sha256"]


async def test_a_range_of_a_blob_that_is_arriving(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    layer = os.urandom(500_000)
    blob = await pusher.push_blob("app", layer)

    async with (
        mirror() as (_, client),
        client.request("GET", f"/v2/hub/app/blobs/{blob}", headers={"Range": "bytes=1000-1999"}) as response,
    ):
        assert response.status == 206
        assert await response.read() == layer[1000:2000]


async def test_a_blob_of_which_upstream_does_not_tell_the_size_comes_when_all_of_it_is_here(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(100_000)

    async def untold(request: web.Request) -> web.StreamResponse | None:
        if request.method != "GET" or not request.path.endswith(digest_of(layer)):
            return None
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        await answer.write(layer)
        return answer

    async with mirror() as (_, client):
        door.first = untold
        for data in (layer, b""):
            blob = await pusher.push_blob("app", data)
            async with client.request("GET", f"/v2/hub/app/blobs/{blob}") as response:
                assert (response.status, response.content_length) == (200, len(data))
                assert await response.read() == data


async def test_children_of_an_index_come_when_they_are_asked_for(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    children = [await pusher.push_image("multi", f"arch{n}", os.urandom(100)) for n in range(3)]
    sizes = [(child, len(await body(pusher, f"/v2/multi/manifests/{child}"))) for child in children]
    index = await pusher.push_manifest("multi", "all", image_index(*sizes), OCI_INDEX)

    async with mirror() as (live, client):
        assert await digest(client, "/v2/hub/multi/manifests/all") == index
        assert await digest(client, f"/v2/hub/multi/manifests/{children[1]}") == children[1]
        flaws = [found async for found in live.registry.verifier.run()]
        assert [tag.name for tag in await live.registry.metadata.tags("hub/multi") or []] == ["all"]

    assert door.count("GET", children[1]) == 1
    assert door.count("GET", children[0]) == 0
    assert not [found for found in flaws if hasattr(found, "why")]


async def test_a_tag_is_asked_for_again_when_its_time_is_over(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    old = await pusher.push_image("app", "latest", b"old")

    async with mirror(ttl=0.0) as (_, client):
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        assert door.count("GET", "/manifests/latest") == 1
        assert door.count("HEAD", "/manifests/latest") == 1
        new = await pusher.push_image("app", "latest", b"new")
        assert await digest(client, "/v2/hub/app/manifests/latest") == new
        assert await pusher.status("DELETE", "/v2/app/manifests/latest") in (202, 401, 403)


async def test_a_tag_within_its_time_is_not_asked_for(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    old = await pusher.push_image("app", "latest", b"old")

    async with mirror(ttl=600.0) as (_, client):
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        await pusher.push_image("app", "latest", b"new")
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
    assert door.count("HEAD", "/manifests/latest") == 0


async def test_nobody_waits_long_for_a_slow_upstream_when_the_tag_is_here(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    old = await pusher.push_image("app", "latest", b"old")
    asked, answers = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> None:
        asked.set()
        await answers.wait()

    async with mirror(ttl=0.0, patience=0.1) as (live, client):
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        door.first = slow
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        await asyncio.wait_for(asked.wait(), 60)
        before = door.count("HEAD", "/manifests/latest")
        assert await digest(client, "/v2/hub/app/manifests/latest") == old
        assert door.count("HEAD", "/manifests/latest") == before
        new = await pusher.push_image("app", "latest", b"new")
        answers.set()

        async def moved() -> bool:  # the question went on
            tag = await live.registry.metadata.tag("hub/app", "latest")
            return tag is not None and tag.digest == new

        await eventually(moved)
        assert await digest(client, "/v2/hub/app/manifests/latest") == new


@pytest.mark.parametrize(("status", "told"), [(503, "UPSTREAM_FAILED"), (429, "TOOMANYREQUESTS"), (403, "")])
async def test_what_is_here_is_served_when_upstream_cannot_be_asked(
    door: Door, pusher: RegistryClient, mirror: Mirror, status: int, told: str
) -> None:
    pushed = await pusher.push_image("app", "1", b"layer")

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "3600"})

    async with mirror(ttl=0.0) as (_, client):
        assert await digest(client, "/v2/hub/app/manifests/1") == pushed
        door.first = refuse
        assert await digest(client, "/v2/hub/app/manifests/1") == pushed
        refused = await client.refusal("GET", "/v2/hub/app/manifests/2")
        assert refused[1] == (told or "MANIFEST_UNKNOWN")
        async with client.request("GET", "/v2/hub/app/manifests/2") as response:
            assert response.headers.get("Retry-After", "") == ("3600" if status == 429 else "")
            if response.status >= 500:  # of which the Docker Engine shows nothing but this line
                assert "answered 503" in str(response.reason)


async def test_each_of_two_upstreams_is_told_its_own_credentials_and_no_others(tmp_path: Path) -> None:
    async with upstream(tmp_path / "one") as (one, first), upstream(tmp_path / "two") as (two, second):
        digests = [await first.push_image("app", "1", b"one"), await second.push_image("app", "1", b"two")]
        doors, upstreams = {"one": one, "two": two}, []
        for name, door in doors.items():
            door.seen.clear()
            door.first = _asks_to_sign_in(door, name)
            remote = RemoteRegistry(door.url, Credentials(name, f"{name}'s secret"), patience=QUICK)
            upstreams.append(Upstream(name, remote))
        (tmp_path / "mirror").mkdir()
        async with live_registry(tmp_path / "mirror", upstreams=upstreams) as live, aiohttp.ClientSession() as session:
            client = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
            got = [await digest(client, f"/v2/{name}/app/manifests/1") for name in doors]

    assert got == digests
    for name, door in doors.items():
        assert {header for _, header in door.seen} == {"", basic(name, f"{name}'s secret")}


def _asks_to_sign_in(door: Door, name: str) -> Callable[[web.Request], Any]:
    """Answer 401 to whoever does not know the secret; behind the door nobody asks for any."""

    async def first(request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") != basic(name, f"{name}'s secret"):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="there"'})
        async with (
            aiohttp.ClientSession() as session,
            session.get(door.behind + request.path_qs, headers={"Accept": request.headers["Accept"]}) as response,
        ):
            kept = ("Content-Type", "Docker-Content-Digest")
            headers = {key: response.headers[key] for key in kept}
            return web.Response(status=response.status, headers=headers, body=await response.read())

    return first


async def test_a_blob_whose_upstream_dies_in_the_middle_is_an_error_and_never_a_short_one(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(2_000_000)
    blob = await pusher.push_blob("app", layer)

    async def dying(request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" not in request.path:
            return None
        if request.headers.get("Range"):
            return web.Response(status=503)
        answer = web.StreamResponse(headers={"Content-Length": str(len(layer))})
        await answer.prepare(request)
        await answer.write(layer[:500_000])
        assert request.transport
        request.transport.close()
        return answer

    async with mirror() as (live, client):
        door.first = dying
        with pytest.raises(aiohttp.ClientError):
            async with client.request("GET", f"/v2/hub/app/blobs/{blob}") as response:
                await response.read()
        assert not [path for path in live.files if "blobs" in path.parts]
        door.first = None
        assert await body(client, f"/v2/hub/app/blobs/{blob}") == layer


async def test_a_tag_that_is_gone_upstream_is_gone_here(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    pushed = await pusher.push_image("app", "1", b"layer")

    async def unknown(request: web.Request) -> web.Response | None:
        return web.Response(status=404) if "/manifests/" in request.path else None

    async with mirror(ttl=0.0) as (_, client):
        assert await digest(client, "/v2/hub/app/manifests/1") == pushed
        door.first = unknown
        assert await client.refusal("GET", "/v2/hub/app/manifests/1") == (404, "MANIFEST_UNKNOWN")
        asked = sum(door.asked.values())
        assert await client.refusal("GET", "/v2/hub/app/manifests/1") == (404, "MANIFEST_UNKNOWN")
        assert sum(door.asked.values()) == asked  # for a moment nobody is asked again
        assert await digest(client, f"/v2/hub/app/manifests/{pushed}") == pushed


async def test_wrong_bytes_are_never_handed_over_whole(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    layer = os.urandom(200_000)
    blob = await pusher.push_blob("app", layer)
    manifest = await pusher.push_image("app", "1")

    async def lie(request: web.Request) -> web.Response | None:
        if "/blobs/" in request.path:
            return web.Response(body=layer[:-1] + bytes([layer[-1] ^ 1]))
        if "/manifests/" in request.path:
            return web.Response(body=b"{}", content_type=OCI_MANIFEST)
        return None

    async with mirror() as (live, client):
        door.first = lie
        with pytest.raises(aiohttp.ClientError):
            async with client.request("GET", f"/v2/hub/app/blobs/{blob}") as response:
                await response.read()
        assert await client.refusal("GET", f"/v2/hub/app/manifests/{manifest}") == (502, "UPSTREAM_FAILED")
        assert not live.files
        door.first = None
        assert await body(client, f"/v2/hub/app/blobs/{blob}") == layer


async def test_a_download_that_breaks_off_goes_on_where_it_was(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(2_000_000)
    blob = await pusher.push_blob("app", layer)
    broken: list[str] = []

    async def breaking(request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" not in request.path or len(broken) == 2:
            return None
        broken.append(request.headers.get("Range", ""))
        start = int(broken[-1].removeprefix("bytes=").rstrip("-") or 0)
        answer = web.StreamResponse(status=206 if start else 200, headers={"Content-Length": str(len(layer) - start)})
        await answer.prepare(request)
        await answer.write(layer[start : start + 500_000])
        assert request.transport
        request.transport.close()
        return answer

    async with mirror() as (_, client):
        door.first = breaking
        assert await body(client, f"/v2/hub/app/blobs/{blob}") == layer
    assert broken[0] == ""
    assert broken[1].startswith("bytes=")


async def test_a_cached_repository_is_not_pushed_to(mirror: Mirror) -> None:
    async with mirror() as (_, client):
        assert await client.refusal("POST", "/v2/hub/app/blobs/uploads/") == (403, "DENIED")
        headers = {"Content-Type": OCI_MANIFEST}
        assert await client.refusal("PUT", "/v2/hub/app/manifests/1", data=b"{}", headers=headers) == (403, "DENIED")
        assert await client.push_image("own/app", "1")


async def test_a_layer_that_is_here_for_another_image_is_not_fetched_again(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(1000)
    blob = await pusher.push_blob("a", layer)
    await pusher.push_blob("b", layer)

    async with mirror() as (_, client):
        assert await body(client, f"/v2/hub/a/blobs/{blob}") == layer
        for _ in range(2):  # each is asked for once whether it has it too
            assert await body(client, f"/v2/hub/b/blobs/{blob}") == layer
            assert await client.refusal("GET", f"/v2/hub/c/blobs/{blob}") == (404, "BLOB_UNKNOWN")
    assert door.count("GET", blob) == 1
    assert [door.count("HEAD", f"/v2/{name}/blobs/{blob}") for name in "bc"] == [1, 1]


async def test_only_what_the_globs_name_is_mirrored(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    await pusher.push_image("library/a", "1")
    await pusher.push_image("other/a", "1")

    async with mirror(only=("library/*",)) as (_, client):
        assert await client.status("GET", "/v2/hub/library/a/manifests/1") == 200
        assert await client.refusal("GET", "/v2/hub/other/a/manifests/1") == (404, "MANIFEST_UNKNOWN")
        assert await client.refusal("GET", f"/v2/hub/other/a/blobs/{digest_of(b'layer')}") == (404, "BLOB_UNKNOWN")
        assert await client.refusal("GET", "/v2/hub/other/a/tags/list") == (404, "NAME_UNKNOWN")
    assert not [path for _, path in door.asked if path.startswith("/v2/other/")]


async def test_clients_that_take_us_for_the_upstream_get_its_images(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    theirs = await pusher.push_image("team/app", "1", b"theirs")
    await pusher.push_image("own/app", "1", b"not ours")

    async with mirror(default=True) as (live, client):
        assert await client.status("GET", "/v2/own/app/manifests/1") == 200  # theirs, as long as there are none of ours
        before = sum(door.asked.values())
        ours = await client.push_image("own/app", "1", b"ours")
        assert await digest(client, "/v2/team/app/manifests/1") == theirs
        assert await client.status("HEAD", f"/v2/own/app/blobs/{digest_of(b'ours')}") == 200
        assert await digest(client, "/v2/own/app/manifests/1") == ours
        assert sum(door.asked.values()) == before + 1
        assert await digest(client, f"/v2/team/app/manifests/1?ns={live.host}") == theirs
        assert await digest(client, "/v2/team/app/manifests/1?ns=hub") == theirs
        async with client.request("GET", "/v2/team/app/manifests/1?ns=hub") as response:
            assert response.headers["OCI-Namespace"] == "hub"
        blob = f"/v2/team/app/blobs/{digest_of(b'theirs')}"  # who looks for one by password may be about to push it
        assert [await client.status(method, blob) for method in ("HEAD", "GET", "HEAD")] == [404, 200, 404]
        assert await client.refusal("GET", "/v2/own/app/manifests/2") == (404, "MANIFEST_UNKNOWN")
        assert await client.refusal("GET", "/v2/team/app/manifests/1?ns=ghcr.io") == (404, "NAME_UNKNOWN")
        async with aiohttp.ClientSession() as session:  # as the Docker Engine does: a token for the name it knows
            login = {"Authorization": basic("any", live.tokens[Role.DEPLOYER])}
            asked = {"scope": "repository:team/app:pull"}
            async with session.get(f"{live.url}/v2/token", params=asked, headers=login) as response:
                token = (await response.json())["token"]
            deployer = RegistryClient(session, live.url, token)
            assert await digest(deployer, "/v2/team/app/manifests/1") == theirs
    assert door.count("GET", "/own/app/manifests/1") == 1


async def test_who_pushes_a_name_that_upstream_has_too_is_told_of_what_is_here_only(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    await pusher.push_image("team/app", "1", b"theirs")

    async with mirror(default=True) as (live, client):
        own = RemoteRegistry(live.url, Credentials("any", live.tokens[Role.ADMIN]), patience=QUICK)
        theirs = RemoteRegistry(door.url, patience=QUICK)
        for tag in ("1", "2"):
            assert await client.status("GET", "/v2/team/app/manifests/1") == 200
            done = await Copier(own).copy(RemoteSource(theirs, "team/app", "1"), "team/app", tag, Quiet())
            assert (done.sent, done.there) == ((2, 0) if tag == "1" else (0, 0))
        assert {tag.name for tag in await live.registry.metadata.tags("team/app") or []} == {"1", "2"}
        await own.close()
        await theirs.close()


async def test_what_nobody_asks_for_is_collected(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    await pusher.push_image("app", "1")
    policy = Policy(timedelta(0))

    async with mirror(policy, keep=timedelta(0)) as (live, client):
        manifest = json.loads(await body(client, "/v2/hub/app/manifests/1"))
        await body(client, f"/v2/hub/app/blobs/{manifest['layers'][0]['digest']}")
        await client.push_image("own", "1", b"stays")

        dry = await live.registry.collector.run(dry_run=True)
        assert dry.counts[GarbageKind.CACHED] == 1
        for _ in range(4):  # what loses its last reason is young for a moment
            await live.registry.collector.run()

        assert await live.registry.metadata.tags("hub/app") == []
        assert await client.status("GET", "/v2/own/manifests/1") == 200
        assert len([file for file in live.files if "blobs" in file.parts]) == 3  # our own config, layer and manifest
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


async def test_a_cached_tag_that_is_immutable_stays_as_it_was_when_it_moves_or_goes_upstream(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    first = await pusher.push_image("app", "v1", b"first")
    path = "/v2/hub/app/manifests/v1"

    async with mirror(ttl=0.0) as (live, client):
        await live.registry.metadata.set_rule(Rule("**", immutable=("v*",)), Actor("ann", "admin"))
        assert digest_of(await body(client, path)) == first
        await pusher.push_image("app", "v1", b"second")
        assert digest_of(await body(client, path)) == first
        admin = {"headers": {"Authorization": f"Bearer {door.token}"}}
        assert await pusher.status("DELETE", "/v2/app/manifests/v1", **admin) == 202
        assert digest_of(await body(client, path)) == first
        assert door.count("HEAD", "/manifests/v1") == 0


async def test_tags_and_referrers_are_listed_as_upstream_lists_them(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    subject = await pusher.push_image("app", "1")
    await pusher.push_image("app", "2", b"other")
    size = len(await body(pusher, "/v2/app/manifests/1"))
    blob = await pusher.push_blob("app", b"{}")
    about = {"mediaType": OCI_MANIFEST, "digest": subject, "size": size}
    sbom = image_manifest((blob, 2), (blob, 2), subject=about, artifactType="application/sbom")
    signature = await pusher.push_manifest("app", "s", sbom)

    async def away(_request: web.Request) -> web.Response:
        return web.Response(status=503)

    async with mirror(ttl=600.0) as (_, client):
        await body(client, "/v2/hub/app/manifests/1")
        for path, found in {"tags/list": ["1", "2", "s"], "tags/list?n=1&last=1": ["2"]}.items():
            assert json.loads(await body(client, f"/v2/hub/app/{path}"))["tags"] == found
        for kind, found in {"application/sbom": [signature], "other": []}.items():
            index = json.loads(await body(client, f"/v2/hub/app/referrers/{subject}?artifactType={kind}"))
            assert [one["digest"] for one in index["manifests"]] == found
        assert door.count("GET", f"/referrers/{subject}") == 1
        door.first = away
        assert json.loads(await body(client, "/v2/hub/app/tags/list"))["tags"] == ["1"]


async def test_large_referrers_of_upstream_come_in_pages_and_are_not_remembered(door: Door, mirror: Mirror) -> None:
    subject, large = digest_of(b"subject"), {"text": "x" * 20_000}
    told = [{"mediaType": OCI_MANIFEST, "digest": digest_of(b"%d" % n), "annotations": large} for n in range(300)]

    async def many(request: web.Request) -> web.Response | None:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": told}
        return web.json_response(index, content_type=OCI_INDEX) if "/referrers/" in request.path else None

    async with mirror(ttl=600.0) as (_, client):
        door.first = many
        found, path = list[str](), f"/v2/hub/app/referrers/{subject}"
        while path:
            async with client.request("GET", path) as response:
                page = await response.read()
                assert len(page) < 5_000_000
                found += [one["digest"] for one in json.loads(page)["manifests"]]
                path = response.headers.get("Link", "").partition(">")[0].removeprefix("<")

    assert found == sorted(digest_of(b"%d" % n) for n in range(300))
    assert door.count("GET", f"/referrers/{subject}") == 2


async def test_a_page_leads_on_in_the_same_namespace(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    await pusher.push_image("app", "1")
    await pusher.push_image("app", "2", b"other")

    async with mirror() as (_, client):
        await client.push_image("app", "3", b"ours")
        async with client.request("GET", "/v2/app/tags/list?n=1&ns=hub") as response:
            link = response.headers["Link"].partition(">")[0].removeprefix("<")
            assert response.headers["OCI-Namespace"] == "hub"
        assert json.loads(await body(client, link))["tags"] == ["2"]


async def test_a_blob_of_a_namespace_tells_so(door: Door, pusher: RegistryClient, mirror: Mirror) -> None:
    blob = await pusher.push_blob("app", b"blob")

    async with mirror() as (_, client):
        for _ in range(2):  # from upstream, then from here
            async with client.request("GET", f"/v2/app/blobs/{blob}?ns=hub") as response:
                assert (await response.read(), response.headers["OCI-Namespace"]) == (b"blob", "hub")


async def test_a_rightless_client_makes_nobody_ask_upstream(door: Door, mirror: Mirror) -> None:
    async with mirror(default=True) as (live, _), aiohttp.ClientSession() as session:
        for token in ("", "wrong"):
            for name in ("hub/app", "app"):
                client = RegistryClient(session, live.url, token)
                assert await client.refusal("GET", f"/v2/{name}/manifests/1") == (401, "UNAUTHORIZED")
    assert not door.asked


async def test_what_is_no_tag_leads_to_nothing_else_of_upstream(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    await pusher.push_image("team/app", "1")
    await pusher.push_image("private/app", "1")
    door.asked.clear()

    async with mirror(only=("team/*",)) as (live, client):
        for item in ("..%2F..%2F..%2Fprivate%2Fapp%2Fmanifests%2F1", "1%3Fx", "1%23x", "1%2Fx", "%2e%2e", "-x"):
            for method in ("GET", "HEAD"):
                got, came = await sent(live, head(live, method, f"/v2/hub/team/app/manifests/{item}", CLOSE))
                assert got == [404], came
        for item in ("manifests/sha256:x", "blobs/sha256:x", "referrers/sha256:x"):
            assert await client.refusal("GET", f"/v2/hub/team/app/{item}") == (400, "DIGEST_INVALID")
    assert not door.asked


async def test_memory_stays_flat_and_a_slow_reader_holds_up_nobody(
    door: Door, pusher: RegistryClient, mirror: Mirror
) -> None:
    layer = os.urandom(8_000_000)
    blob = await pusher.push_blob("app", layer)

    async with mirror() as (live, client), client.request("GET", f"/v2/hub/app/blobs/{blob}") as slow:
        assert await body(client, f"/v2/hub/app/blobs/{blob}") == layer
        assert [file.parent.parent.name for file in live.files] == ["sha256"]
        assert await slow.read() == layer  # also after the blob has come to its place
    assert door.count("GET", blob) == 1


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
