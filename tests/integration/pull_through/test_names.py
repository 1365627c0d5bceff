"""Which names lead upstream and for whom, and what is listed under them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from lumper.cli.images.progress import Quiet
from lumper.model.people.people import Role
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.transfer.copy import Copier
from lumper.registry.transfer.source import RemoteSource
from lumper.registry.upstream.upstreams import Upstream
from parts.registries.live_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    RegistryClient,
    digest_of,
    image_manifest,
    live_registry,
)
from parts.registries.mirror import QUICK, Mirror, body, digest
from parts.registries.upstream import Door, basic, upstream
from parts.servers.raw_http import head, sent

CLOSE = b"Connection: close\r\n"


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


async def test_a_cached_repository_is_not_pushed_to(mirror: Mirror) -> None:
    async with mirror() as (_, client):
        assert await client.refusal("POST", "/v2/hub/app/blobs/uploads/") == (403, "DENIED")
        headers = {"Content-Type": OCI_MANIFEST}
        assert await client.refusal("PUT", "/v2/hub/app/manifests/1", data=b"{}", headers=headers) == (403, "DENIED")
        assert await client.push_image("own/app", "1")


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


async def test_a_page_leads_on_in_the_same_namespace(pusher: RegistryClient, mirror: Mirror) -> None:
    await pusher.push_image("app", "1")
    await pusher.push_image("app", "2", b"other")

    async with mirror() as (_, client):
        await client.push_image("app", "3", b"ours")
        async with client.request("GET", "/v2/app/tags/list?n=1&ns=hub") as response:
            link = response.headers["Link"].partition(">")[0].removeprefix("<")
            assert response.headers["OCI-Namespace"] == "hub"
        assert json.loads(await body(client, link))["tags"] == ["2"]


async def test_a_blob_of_a_namespace_tells_so(pusher: RegistryClient, mirror: Mirror) -> None:
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
