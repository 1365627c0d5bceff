"""The client for other registries: what it sends to whom, and what it believes."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from lumper.errors import (
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from lumper.model.people.people import Role
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.connection import RetryPolicy
from lumper.registry.remote.registry import RemoteRegistry, checked, referrers_tag
from parts.registries.live_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    PASSWORD,
    LiveRegistry,
    RegistryClient,
    digest_of,
    image_index,
)
from parts.registries.upstream import Door, basic, opened
from parts.servers.http_server import serving

QUICK = RetryPolicy(attempts=2, longest=0.05, connect=60, idle=60)


@pytest.fixture
async def remote(live: LiveRegistry) -> AsyncIterator[RemoteRegistry]:
    registry = RemoteRegistry(live.url, Credentials("admin", PASSWORD), patience=QUICK)
    yield registry
    await registry.close()


async def test_a_blob_and_a_manifest_go_there_and_come_back(remote: RemoteRegistry, admin: RegistryClient) -> None:
    await admin.push_image("team/app", "1")
    document = await remote.manifest("team/app", "1")
    data = os.urandom(300_000)
    digest = digest_of(data)

    async def content() -> AsyncIterator[bytes]:
        yield data[:1000]
        yield data[1000:]

    assert not await remote.has_blob("team/copy", digest)
    await remote.push_blob("team/copy", digest, len(data), content)
    assert await remote.has_blob("team/copy", digest)
    for link in document.manifest.links:
        assert await remote.mount("team/copy", link.digest, "team/app")
    await remote.push_manifest("team/copy", "1", document)
    async with remote.blob("team/copy", digest) as incoming:
        assert b"".join([chunk async for chunk in checked(incoming.chunks, digest, len(data))]) == data
    assert await remote.digest("team/copy", "1") == document.manifest.digest
    assert [name async for name in remote.repositories()] == ["team/app", "team/copy"]
    with pytest.raises(RemoteNotFound):
        await remote.manifest("team/app", "2")


async def test_lists_are_read_page_by_page(live: LiveRegistry, admin: RegistryClient, remote: RemoteRegistry) -> None:
    digest = await admin.push_image("app", "t0")
    manifest = (await remote.manifest("app", "t0")).body
    for n in range(1, 5):
        headers = {"Content-Type": OCI_MANIFEST}
        assert await admin.status("PUT", f"/v2/app/manifests/t{n}", data=manifest, headers=headers) == 201
    async with opened(live) as (door, _):

        async def small(request: web.Request) -> web.Response | None:
            if request.path.endswith("/tags/list") and request.query["n"] != "2":
                raise web.HTTPTemporaryRedirect(str(request.rel_url.update_query(n="2")))
            return None

        door.first = small
        through = RemoteRegistry(door.url, Credentials("any", live.tokens[Role.ADMIN]), patience=QUICK)
        assert [tag async for tag in through.tags("app")] == [f"t{n}" for n in range(5)]
        assert door.count("GET", "/tags/list") > 3
        await through.close()
    assert digest


async def test_referrers_come_from_the_api_or_from_the_tag_that_stands_for_it(
    live: LiveRegistry, admin: RegistryClient, remote: RemoteRegistry
) -> None:
    subject = await admin.push_image("app", "1")
    size = len((await remote.manifest("app", "1")).body)
    child = await admin.push_image("app", "signature", b"signature")
    await admin.push_manifest("app", subject.replace(":", "-"), image_index((child, size)), OCI_INDEX)
    async with opened(live) as (door, _):
        through = RemoteRegistry(door.url, Credentials("any", live.tokens[Role.ADMIN]), patience=QUICK)
        assert await through.referrers("app", subject) == []
        for status in (404, 400, 405, 406, 200):  # the last one is a page for people

            async def old(request: web.Request, status: int = status) -> web.Response | None:
                return web.Response(status=status) if "/referrers/" in request.path else None

            door.first = old
            assert [one["digest"] for one in await through.referrers("app", subject)] == [child]
            assert await through.referrers("app", child) == []
        await through.close()


async def test_a_registry_that_is_away_has_no_empty_list_of_referrers(live: LiveRegistry) -> None:
    async with opened(live) as (door, _):

        async def away(request: web.Request) -> web.Response | None:
            return web.Response(status=503) if "/referrers/" in request.path else None

        door.first = away
        through = RemoteRegistry(door.url, Credentials("any", live.tokens[Role.ADMIN]), patience=QUICK)
        with pytest.raises(RemoteUnavailable):
            await through.referrers("app", f"sha256:{'a' * 64}")
        await through.close()


def test_a_list_of_referrers_has_a_tag_of_the_digests_first_64_characters() -> None:
    assert referrers_tag(f"sha256:{'a' * 64}") == f"sha256-{'a' * 64}"
    assert referrers_tag(f"sha512:{'b' * 128}") == f"sha512-{'b' * 64}"


async def test_nothing_is_told_to_the_place_that_a_redirect_leads_to() -> None:
    elsewhere, data = Door(), os.urandom(1000)

    async def bucket(request: web.Request) -> web.Response:
        elsewhere.seen.append((request.path_qs, request.headers.get("Authorization", "")))
        return web.Response(body=data)

    async def registry(request: web.Request) -> web.Response:
        if not request.headers.get("Authorization"):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return web.Response(status=307, headers={"Location": f"{elsewhere.url}/b?X-Signature=a%2Fb%3D"})

    async with serving(bucket) as elsewhere.url, serving(registry) as url:
        remote = RemoteRegistry(url, Credentials("me", "secret"), patience=QUICK)
        async with remote.blob("app", digest_of(data)) as incoming:
            assert b"".join([chunk async for chunk in incoming.chunks]) == data
        await remote.close()
    assert elsewhere.seen == [("/b?X-Signature=a%2Fb%3D", "")]


@pytest.mark.parametrize("configured", [False, True])
async def test_a_realm_elsewhere_is_told_the_password_only_if_it_is_configured(configured: bool) -> None:
    told: list[str] = []

    async def realm(request: web.Request) -> web.Response:
        told.append(request.headers.get("Authorization", ""))
        return web.json_response({"token": "t"})

    async with serving(realm) as auth:

        async def registry(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") != "Bearer t":
                return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="{auth}/token"'})
            return web.Response(status=403 if told == [""] else 200)

        async with serving(registry) as url:
            host = auth.removeprefix("http://") if configured else ""
            remote = RemoteRegistry(url, Credentials("me", "secret"), auth_host=host, patience=QUICK)
            if configured:
                assert await remote.has_blob("app", digest_of(b""))
            else:
                with pytest.raises(RemoteUnauthorized) as refused:
                    await remote.has_blob("app", digest_of(b""))
                assert "auth_host" in refused.value.hint
            await remote.close()
    assert told == [basic("me", "secret") if configured else ""]


@pytest.mark.parametrize("takes_them", [True, False])
async def test_a_registry_that_may_have_the_credentials_at_once_is_still_followed_to_its_realm(
    takes_them: bool,
) -> None:
    told: list[tuple[str, str]] = []

    async def registry(request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization", "")
        told.append((request.path, sent))
        if request.path == "/token":
            return web.json_response({"token": "t"})
        if sent in ("Bearer t", basic("me", "secret") if takes_them else "Bearer t"):
            return web.Response()
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="{request.url.origin()}/token"'})

    async with serving(registry) as url:
        remote = RemoteRegistry(url, Credentials("me", "secret", at_once=True), patience=QUICK)
        for _ in range(2):
            assert await remote.has_blob("app", digest_of(b""))
        await remote.close()
    blob = f"/v2/app/blobs/{digest_of(b'')}"
    asked = [(blob, basic("me", "secret"))]
    signing_in = [*asked, ("/token", basic("me", "secret")), (blob, "Bearer t"), (blob, "Bearer t")]
    assert told == (asked * 2 if takes_them else signing_in)


@pytest.mark.parametrize(
    "place", ["http://169.254.169.254/x", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/", "http://[::]/"]
)
async def test_some_places_are_not_followed_to(place: str) -> None:
    async def redirecting(_request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": place})

    async def asking(_request: web.Request) -> web.Response:
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="{place}"'})

    for handler in (redirecting, asking):
        async with serving(handler) as url:
            remote = RemoteRegistry(url, Credentials("me", "secret"), patience=QUICK)
            with pytest.raises(RemoteInvalid):
                await remote.manifest("app", "1")
            await remote.close()


async def test_a_circle_of_redirects_and_a_realm_that_leads_elsewhere_end() -> None:
    async def circle(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": request.path})

    async def realm(request: web.Request) -> web.Response:
        if request.path == "/token":
            return web.Response(status=302, headers={"Location": "/other"})
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{request.host}/token"'})

    for handler in (circle, realm):
        async with serving(handler) as url:
            remote = RemoteRegistry(url, patience=QUICK)
            with pytest.raises(RemoteInvalid):
                await remote.manifest("app", "1")
            await remote.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"body": b"{}"}, RemoteInvalid),
        ({"body": b"x" * (5 << 20)}, RemoteInvalid),
        ({"body": b"{", "content_type": OCI_MANIFEST}, RemoteInvalid),
        ({"body": b'{"schemaVersion": 1}', "content_type": "application/vnd.docker.distribution.manifest.v1+prettyjws"},
         RemoteInvalid),
        ({"body": b"{}", "headers": {"Docker-Content-Digest": "sha256:" + "0" * 64}}, RemoteInvalid),
        ({"status": 500, "body": b"x" * (1 << 20)}, RemoteUnavailable),
        ({"status": 418, "body": b'{"errors":[{"code":"A","message":"b\\u001b[2J"}]}'}, RemoteError),
        ({"status": 404, "body": b"[" * 100_000}, RemoteNotFound),
    ],
)  # fmt: skip
async def test_an_answer_that_is_no_manifest_is_an_error(answer: dict[str, object], error: type[RemoteError]) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(**answer)  # type: ignore[arg-type]

    async with serving(handler) as url:
        remote = RemoteRegistry(url, patience=QUICK)
        with pytest.raises(error) as raised:
            await remote.manifest("app", "1")
        await remote.close()
    assert raised.value.sentence.isprintable()


@pytest.mark.parametrize("told", [True, False])
async def test_another_image_than_the_digest_names_is_an_error(told: bool) -> None:
    body = json.dumps(image_index()).encode()
    right, wrong = digest_of(body), digest_of(b"another")

    async def handler(request: web.Request) -> web.Response:
        asked = request.path.rpartition("/")[2]
        headers = {"Docker-Content-Digest": wrong if asked == "lying" else asked} if told else {}
        return web.Response(body=body, content_type=OCI_INDEX, headers=headers)

    async with serving(handler) as url:
        remote = RemoteRegistry(url, patience=QUICK)
        assert (await remote.manifest("app", right)).body == body
        for reference in (wrong, "lying") if told else (wrong,):
            with pytest.raises(RemoteInvalid, match="another digest"):
                await remote.manifest("app", reference)
        await remote.close()


@pytest.mark.parametrize(
    ("body", "link"),
    [
        (b"5", ""),
        (b"[]", ""),
        (b'{"tags": 5, "repositories": 5, "manifests": 5}', ""),
        (b'{"tags": [5], "repositories": [[]], "manifests": [null]}', ""),
        (b"{}", '<http://[>; rel="next"'),
        (b"{}", '<http://host:99999/>; rel="next"'),
        (b"{}", '<mailto:a@b>; rel="next"'),
        (b"{}", '<http://elsewhere.example/>; rel="next"'),
    ],
)
async def test_a_list_from_anyone_is_names_or_an_error(body: bytes, link: str) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": OCI_INDEX} | ({"Link": link} if link else {}))

    async with AsyncExitStack() as stack:
        remote = RemoteRegistry(await stack.enter_async_context(serving(handler)), patience=QUICK)
        stack.push_async_callback(remote.close)
        for listing in (
            lambda: all_of(remote.tags("app")),
            lambda: all_of(remote.repositories()),
            lambda: remote.referrers("app", digest_of(b"")),
        ):
            if link:
                with pytest.raises(RemoteInvalid):
                    await listing()
            else:
                assert await listing() == []
        if not link or "elsewhere" in link:  # where the next page is, nobody follows from here
            assert await remote.tags_page("app", "", 10) == ([], False)
        else:
            with pytest.raises(RemoteInvalid):
                await remote.tags_page("app", "", 10)


async def test_pages_of_a_registry_that_knows_none_are_cut_here() -> None:
    async def handler(request: web.Request) -> web.Response:
        told, _, link = request.path.split("/")[2].partition("-")
        headers = {"Link": '</next>; rel="next"'} if link else {}
        return web.json_response({"tags": list(told)}, headers=headers)

    async with AsyncExitStack() as stack:
        remote = RemoteRegistry(await stack.enter_async_context(serving(handler)), patience=QUICK)
        stack.push_async_callback(remote.close)
        for told, last, size, page in (
            ("ab", "", 2, (["a", "b"], False)),
            ("ab-more", "", 2, (["a", "b"], True)),
            ("cab", "", 2, (["a", "b"], True)),
            ("cab", "a", 2, (["b", "c"], False)),
            ("cab", "b", 3, (["c"], False)),
            ("ab-more", "b", 2, ([], False)),  # it gives its first page always
            ("cb-more", "a", 2, (["c", "b"], True)),  # in an order of its own
        ):
            assert await remote.tags_page(told, last, size) == page, (told, last)


async def test_a_list_of_referrers_without_an_end_is_given_up() -> None:
    async def handler(request: web.Request) -> web.Response:
        page = int(request.query.get("page", 0)) + 1
        headers = {"Content-Type": OCI_INDEX, "Link": f'<{request.path}?page={page}>; rel="next"'}
        return web.Response(body=b'{"manifests": []}'.ljust(9 << 20), headers=headers)

    async with AsyncExitStack() as stack:
        remote = RemoteRegistry(await stack.enter_async_context(serving(handler)), patience=QUICK)
        stack.push_async_callback(remote.close)
        with pytest.raises(RemoteInvalid, match="more than"):
            await remote.referrers("app", digest_of(b""))


async def all_of(names: AsyncIterator[str]) -> list[str]:
    return [name async for name in names]


async def test_what_fails_for_a_moment_is_tried_again(live: LiveRegistry, admin: RegistryClient) -> None:
    digest = await admin.push_image("app", "1")
    failures: list[int] = []
    async with opened(live) as (door, _):

        async def failing(request: web.Request) -> web.Response | None:
            if "/manifests/" in request.path and len(failures) < 2:
                failures.append(1)
                return web.Response(status=503 if failures[1:] else 429, headers={"Retry-After": "0"})
            return None

        door.first = failing
        patient = RetryPolicy(attempts=3, longest=0.05, connect=60, idle=60)
        remote = RemoteRegistry(door.url, Credentials("any", live.tokens[Role.ADMIN]), patience=patient)
        assert (await remote.manifest("app", "1")).manifest.digest == digest
        await remote.close()
    assert len(failures) == 2


async def test_a_token_that_is_not_enough_is_a_refusal_and_not_a_circle(live: LiveRegistry) -> None:
    deployer = RemoteRegistry(live.url, Credentials("any", live.tokens[Role.MAILER]), patience=QUICK)
    with pytest.raises(RemoteUnauthorized):
        await deployer.digest("app", "1")
    await deployer.close()
