"""The distribution API over loopback: manifests, tags, lists, and what bad requests get."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest

from lumper.model.people.people import Role
from lumper.registry.verify import Defect
from parts.registries.live_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    LiveRegistry,
    RegistryClient,
    digest_of,
    image_index,
    image_manifest,
)

MIB = 1 << 20
NOWHERE = digest_of(b"nowhere")


async def test_an_image_is_pulled_by_tag_and_by_digest(admin: RegistryClient) -> None:
    digest = await admin.push_image("a", "1.0")

    for reference in ("1.0", digest, digest.replace(":", "%3A")):
        for method in ("HEAD", "GET"):
            async with admin.request(method, f"/v2/a/manifests/{reference}") as response:
                assert response.status == 200
                assert response.headers["Docker-Content-Digest"] == digest
                assert response.headers["Content-Type"] == OCI_MANIFEST
                if method == "GET":
                    assert digest_of(await response.read()) == digest
    assert await admin.status("GET", f"/v2/b/manifests/{digest}") == 404
    seen = {"If-None-Match": f'"{digest}"'}
    assert await admin.status("GET", "/v2/a/manifests/1.0", headers=seen) == 304


async def test_an_index_needs_its_children_in_the_same_repository(admin: RegistryClient) -> None:
    child = await admin.push_image("a", "linux")
    body = json.dumps(image_index((child, 400)))
    headers = {"Content-Type": OCI_INDEX}

    refused = await admin.refusal("PUT", "/v2/b/manifests/all", data=body, headers=headers)
    assert refused == (400, "MANIFEST_BLOB_UNKNOWN")

    assert await admin.status("PUT", "/v2/a/manifests/all", data=body, headers=headers) == 201


async def test_a_manifest_needs_its_blobs(admin: RegistryClient) -> None:
    body = json.dumps(image_manifest((NOWHERE, 2)))
    headers = {"Content-Type": OCI_MANIFEST}

    assert await admin.refusal("PUT", "/v2/a/manifests/x", data=body, headers=headers) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert await admin.status("GET", "/v2/a/manifests/x") == 404


async def test_a_manifest_pushed_by_digest_must_have_it(admin: RegistryClient) -> None:
    config = await admin.push_blob("a", b"{}")
    body = json.dumps(image_manifest((config, 2))).encode()
    headers = {"Content-Type": OCI_MANIFEST}

    assert await admin.refusal("PUT", f"/v2/a/manifests/{NOWHERE}", data=body, headers=headers) == (
        400,
        "DIGEST_INVALID",
    )
    assert await admin.status("PUT", f"/v2/a/manifests/{digest_of(body)}", data=body, headers=headers) == 201
    assert await admin.status("GET", f"/v2/a/manifests/{digest_of(body)}") == 200


async def test_a_large_manifest_is_refused_before_it_is_read_and_the_connection_closed(admin: RegistryClient) -> None:
    async with admin.request("PUT", "/v2/a/manifests/x", data=io.BytesIO(bytes(5 * MIB))) as response:
        assert response.status == 413
        assert response.headers["Connection"] == "close"
        assert json.loads(await response.read())["errors"][0]["code"] == "MANIFEST_INVALID"

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * MIB

    assert await admin.status("PUT", "/v2/a/manifests/x", data=endless()) == 413


@pytest.mark.parametrize(
    ("method", "path", "who", "status"),
    [
        ("PATCH", "/v2/a/blobs/uploads/x", "", b"401"),
        ("PATCH", "/v2/UPPER/blobs/uploads/x", "", b"400"),
        ("PUT", "/v2/a/manifests/x", "admin", b"413"),
        ("PUT", "/v2/a/manifests/a%20b", "admin", b"400"),
        ("PUT", f"/v2/a/manifests/{NOWHERE}?tag=a%20b", "admin", b"400"),
    ],
)
async def test_an_answer_to_a_refused_body_comes_before_it(
    live: LiveRegistry, method: str, path: str, who: str, status: bytes
) -> None:
    host, _, port = live.host.partition(":")
    credentials = f"Authorization: Bearer {live.tokens[Role(who)]}\r\n" if who else ""
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{credentials}Content-Length: 104857600\r\n\r\n".encode())
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] == status
    assert b"connection: close" in head.lower()
    writer.close()


async def test_a_body_that_is_expected_is_asked_for_only_when_it_is_wanted(live: LiveRegistry) -> None:
    host, _, port = live.host.partition(":")
    for token, first in ((live.tokens[Role.ADMIN], b"HTTP/1.1 100 "), ("wrong", b"HTTP/1.1 401 ")):
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"Host: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        writer.write(f"POST /v2/a/blobs/uploads/?digest={digest_of(b'abc')} HTTP/1.1\r\n{head}".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(first)
        if b" 100 " in first:
            writer.write(b"abc")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
        writer.close()


async def test_tags_are_listed_in_pages_without_private_ones(admin: RegistryClient) -> None:
    for tag in ("b", "a", "_build-1-1", "c"):
        await admin.push_image("x/y", tag)

    async with admin.request("GET", "/v2/x/y/tags/list?n=2") as response:
        assert await response.json() == {"name": "x/y", "tags": ["a", "b"]}
        assert response.headers["Link"] == '</v2/x/y/tags/list?n=2&last=b>; rel="next"'
    async with admin.request("GET", "/v2/x/y/tags/list?n=2&last=b") as response:
        assert await response.json() == {"name": "x/y", "tags": ["c"]}
        assert "Link" not in response.headers
    for size, tags in ((0, []), (3, ["a", "b", "c"])):
        async with admin.request("GET", f"/v2/x/y/tags/list?n={size}") as response:
            assert (await response.json())["tags"] == tags
            assert "Link" not in response.headers
    assert await admin.status("GET", "/v2/x/y/manifests/_build-1-1") == 200
    assert await admin.refusal("GET", "/v2/unknown/tags/list") == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("path", ["/v2/_catalog", "/v2/a/tags/list"])
async def test_a_page_size_is_capped_or_refused(admin: RegistryClient, path: str) -> None:
    await admin.push_image("a", "x")

    assert await admin.status("GET", f"{path}?n=999999999") == 200
    for wrong in ("-1", "abc", "1.5", "²", "9" * 30, ""):
        assert await admin.refusal("GET", f"{path}?n={wrong}") == (400, "UNSUPPORTED")


async def test_repositories_are_listed_in_pages(admin: RegistryClient) -> None:
    for name in ("c", "a/b", "d"):
        await admin.push_image(name, "x")
    await admin.push_blob("b", b"of a push that is not done")

    async with admin.request("GET", "/v2/_catalog?n=2") as response:
        assert await response.json() == {"repositories": ["a/b", "c"]}
        assert response.headers["Link"] == '</v2/_catalog?n=2&last=c>; rel="next"'


async def test_a_tag_and_a_manifest_and_a_blob_are_deleted(admin: RegistryClient) -> None:
    digest = await admin.push_image("a", "x")
    await admin.push_image("a", "y")
    blob = await admin.push_blob("a", b"blob")

    assert await admin.status("DELETE", "/v2/a/manifests/x") == 202
    assert await admin.refusal("GET", "/v2/a/manifests/x") == (404, "MANIFEST_UNKNOWN")
    assert await admin.status("GET", f"/v2/a/manifests/{digest}") == 200
    assert await admin.status("DELETE", f"/v2/a/manifests/{digest}") == 202
    assert await admin.refusal("GET", "/v2/a/manifests/y") == (404, "MANIFEST_UNKNOWN")
    assert await admin.status("DELETE", f"/v2/a/blobs/{blob}") == 202
    assert await admin.refusal("GET", f"/v2/a/blobs/{blob}") == (404, "BLOB_UNKNOWN")
    for path in ("manifests/x", f"manifests/{digest}", f"blobs/{blob}"):
        assert await admin.status("DELETE", f"/v2/a/{path}") == 404


async def test_the_same_layer_pushed_again_heals_a_broken_file(admin: RegistryClient, live: LiveRegistry) -> None:
    digest = await admin.push_blob("a", b"layer")
    (file,) = [path for path in live.files if path.name == digest.partition(":")[2]]
    await asyncio.to_thread(file.write_bytes, b"rotten")

    await admin.push_blob("a", b"layer")

    async with admin.request("GET", f"/v2/a/blobs/{digest}") as response:
        assert await response.read() == b"layer"


async def test_a_compressed_body_is_refused(admin: RegistryClient) -> None:
    location = await admin.begin("a")

    async with admin.request("PATCH", location, data=b"x", headers={"Content-Encoding": "gzip"}) as response:
        assert response.status == 415
        assert response.headers["Accept-Encoding"] == "identity"
        assert (await response.json())["errors"][0]["code"] == "UNSUPPORTED"


async def test_a_push_by_digest_takes_tags_along(admin: RegistryClient) -> None:
    config = await admin.push_blob("a", b"{}")
    body = json.dumps(image_manifest((config, 2))).encode()
    tags = [f"t{number}" for number in range(20)]
    path = f"/v2/a/manifests/{digest_of(body)}?" + "&".join(f"tag={tag}" for tag in [*tags, "t0"])

    async with admin.request("PUT", path, data=body, headers={"Content-Type": OCI_MANIFEST}) as response:
        assert response.status == 201
        assert response.headers["OCI-Tag"].split(", ") == tags

    async with admin.request("GET", "/v2/a/tags/list") as response:
        assert (await response.json())["tags"] == sorted(tags)


async def test_a_push_by_digest_takes_no_number_of_tags_along(admin: RegistryClient) -> None:
    config = await admin.push_blob("a", b"{}")
    body = json.dumps(image_manifest((config, 2))).encode()
    for count, name, status in ((251, "t", 414), (1500, "tag-", 414), (250, "t", 201)):
        path = f"/v2/a/manifests/{digest_of(body)}?" + "&".join(f"tag={name}{number}" for number in range(count))
        assert await admin.status("PUT", path, data=body, headers={"Content-Type": OCI_MANIFEST}) == status
    assert await admin.status("GET", "/v2/a/manifests/t249") == 200


@pytest.mark.parametrize(
    ("tag", "refusal"),
    [("a%20b", (400, "MANIFEST_INVALID")), (NOWHERE, (400, "MANIFEST_INVALID")), ("", (400, "MANIFEST_INVALID"))],
)
async def test_a_push_with_one_tag_that_is_none_moves_no_tag(
    admin: RegistryClient, tag: str, refusal: tuple[int, str]
) -> None:
    config = await admin.push_blob("a", b"{}")
    body = json.dumps(image_manifest((config, 2))).encode()
    path = f"/v2/a/manifests/{digest_of(body)}?tag=good&tag={tag}"

    assert await admin.refusal("PUT", path, data=body, headers={"Content-Type": OCI_MANIFEST}) == refusal
    assert await admin.status("GET", "/v2/a/manifests/good") == 404
    assert await admin.status("GET", f"/v2/a/manifests/{digest_of(body)}") == 404


async def test_a_push_by_tag_takes_no_other_tags_along(admin: RegistryClient) -> None:
    config = await admin.push_blob("a", b"{}")
    body, headers = json.dumps(image_manifest((config, 2))), {"Content-Type": OCI_MANIFEST}

    async with admin.request("PUT", "/v2/a/manifests/x?tag=y", data=body, headers=headers) as response:
        assert response.status == 201
        assert "OCI-Tag" not in response.headers
    assert await admin.status("GET", "/v2/a/manifests/y") == 404


async def test_private_tags_cannot_be_taken_along_by_people(
    live: LiveRegistry, session: aiohttp.ClientSession, admin: RegistryClient
) -> None:
    config = await admin.push_blob("a", b"{}")
    body, headers = json.dumps(image_manifest((config, 2))).encode(), {"Content-Type": OCI_MANIFEST}
    for role, tag in ((Role.OPERATOR, "_build-1-1"), (Role.WORKER, "_build-1-1")):
        client = RegistryClient(session, live.url, live.tokens[role])
        path = f"/v2/a/manifests/{digest_of(body)}?tag={tag}"
        assert await client.refusal("PUT", path, data=body, headers=headers) == (403, "DENIED")


DOCKER = "application/vnd.docker.distribution.manifest"


async def test_docker_manifests_and_lists_are_kept_byte_by_byte(admin: RegistryClient) -> None:
    config = await admin.push_blob("a", b"{}")
    image = {**image_manifest((config, 2)), "mediaType": f"{DOCKER}.v2+json"}
    child = await admin.push_manifest("a", "amd64", image, f"{DOCKER}.v2+json")
    listed = {**image_index((child, 300)), "mediaType": f"{DOCKER}.list.v2+json"}
    body = json.dumps(listed, indent=3).encode()

    headers = {"Content-Type": f"{DOCKER}.list.v2+json ; charset=utf-8"}
    assert await admin.status("PUT", "/v2/a/manifests/all", data=body, headers=headers) == 201

    async with admin.request("GET", "/v2/a/manifests/all") as response:
        assert response.headers["Content-Type"] == f"{DOCKER}.list.v2+json"
        assert await response.read() == body


async def test_every_get_has_a_head_with_the_same_headers_and_no_body(admin: RegistryClient) -> None:
    digest = await admin.push_image("a", "x")
    upload = await admin.begin("a")
    for path in (
        "/v2/",
        "/v2/_catalog",
        "/v2/a/tags/list",
        "/v2/a/manifests/x",
        f"/v2/a/blobs/{digest_of(b'layer')}",
        f"/v2/a/referrers/{digest}",
        upload,
    ):
        async with admin.request("GET", path) as response:
            expected = (response.status, {k: v for k, v in response.headers.items() if k != "Date"})
        async with admin.request("HEAD", path) as response:
            assert (response.status, {k: v for k, v in response.headers.items() if k != "Date"}) == expected, path
            assert await response.read() == b""


@pytest.mark.parametrize("path", ["/v2/_catalog", "/v2/a/tags/list", f"/v2/a/referrers/{NOWHERE}"])
async def test_a_page_may_begin_after_whatever_comes(admin: RegistryClient, path: str) -> None:
    await admin.push_image("a", "x")

    for last in ("", "%00", "x%00", "%ff", "%ed%a0%80", "'", "a" * 4000):
        assert await admin.status("GET", f"{path}?last={last}") == 200
    assert await admin.refusal("GET", f"{path}?last={'a' * 8200}") == (414, "UNSUPPORTED")


async def test_an_upload_that_is_ended_many_times_at_once_ends_once(admin: RegistryClient) -> None:
    for size in (1, 300_000):
        data = os.urandom(size)
        path = f"{await admin.begin('a')}?digest={digest_of(data)}"

        ended = await asyncio.gather(*(admin.status("PUT", path, data=data) for _ in range(10)))

        assert ended.count(201) == 1
        assert set(ended) <= {201, 404, 416}
        async with admin.request("GET", f"/v2/a/blobs/{digest_of(data)}") as response:
            assert await response.read() == data


async def test_images_that_are_pushed_and_deleted_at_the_same_time_are_whole_or_gone(
    admin: RegistryClient, live: LiveRegistry
) -> None:
    async def push(number: int) -> None:
        for step in range(15):
            await admin.push_image("a", f"t{number % 3}", b"%d" % (step % 4))

    async def delete() -> None:
        for step in range(60):
            path = f"/v2/a/manifests/t{step % 3}"
            async with admin.request("HEAD", path) as response:
                digest = response.headers.get("Docker-Content-Digest", "")
            for reference in (path, f"/v2/a/manifests/{digest}") if digest else (path,):
                assert await admin.status("DELETE", reference) in (202, 404)

    await asyncio.gather(*(push(number) for number in range(5)), delete(), delete())

    assert [flaw async for flaw in live.registry.verifier.run() if isinstance(flaw, Defect)] == []
