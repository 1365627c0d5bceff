"""Blobs over loopback: pushed in every way, resumed, mounted, and pulled whole and in parts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from email import message_from_bytes
from pathlib import Path

import aiohttp
import pytest

from lumper.model.people.people import Role
from lumper.registry import blobs
from parts.registries.live_registry import (
    OCI_MANIFEST,
    LiveRegistry,
    RegistryClient,
    digest_of,
    image_manifest,
    live_registry,
)

MIB = 1 << 20
NOWHERE = digest_of(b"nowhere")


async def test_a_blob_pushed_in_one_request_is_pulled_with_its_headers(admin: RegistryClient) -> None:
    data = os.urandom(3 * MIB + 5)
    digest = await admin.push_blob("a/b", data)

    for method in ("HEAD", "GET"):
        async with admin.request(method, f"/v2/a/b/blobs/{digest}") as response:
            assert response.status == 200
            assert response.headers["Content-Length"] == str(len(data))
            assert response.headers["Docker-Content-Digest"] == digest
            assert response.headers["ETag"] == f'"{digest}"'
            assert response.headers["Content-Type"] == "application/octet-stream"
            assert await response.read() == (data if method == "GET" else b"")
    seen = {"If-None-Match": f'"{digest}"'}
    assert await admin.status("GET", f"/v2/a/b/blobs/{digest}", headers=seen) == 304


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-3", 206, slice(0, 4)),
        ("bytes=5-", 206, slice(5, 10)),
        ("bytes=-3", 206, slice(7, 10)),
        ("bytes=8-99", 206, slice(8, 10)),
        ("bytes=-99", 206, slice(0, 10)),
        ("bytes=0-8,2-9", 200, slice(0, 10)),
        ("lines=1-2", 200, slice(0, 10)),
    ],
)
async def test_a_range_of_a_blob_is_served(admin: RegistryClient, asked: str, status: int, part: slice) -> None:
    digest = await admin.push_blob("a", b"0123456789")

    async with admin.request("GET", f"/v2/a/blobs/{digest}", headers={"Range": asked}) as response:
        assert response.status == status
        assert await response.read() == b"0123456789"[part]
        if status == 206:
            start, end, _ = part.indices(10)
            assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/10"


async def test_a_range_behind_the_end_is_416_and_tells_the_size(admin: RegistryClient) -> None:
    digest = await admin.push_blob("a", b"0123456789")

    async with admin.request("GET", f"/v2/a/blobs/{digest}", headers={"Range": "bytes=10-"}) as response:
        assert response.status == 416
        assert response.headers["Content-Range"] == "bytes */10"


async def test_a_chunked_upload_with_ranges_becomes_a_blob(admin: RegistryClient) -> None:
    location = await admin.begin("a")
    for start, data in ((0, b"hello "), (6, b"world")):
        headers = {"Content-Range": f"{start}-{start + len(data) - 1}"}
        async with admin.request("PATCH", location, data=data, headers=headers) as response:
            assert response.status == 202
            assert response.headers["Range"] == f"0-{start + len(data) - 1}"
            location = response.headers["Location"]
    async with admin.request("GET", location) as response:
        assert response.status == 204
        assert [response.headers[name] for name in ("Range", "Docker-Upload-UUID")] == ["0-10", location.split("/")[-1]]

    async with admin.request("PUT", f"{location}?digest={digest_of(b'hello world!')}", data=b"!") as response:
        assert response.status == 201
        blob = response.headers["Location"]

    async with admin.request("GET", blob) as response:
        assert await response.read() == b"hello world!"
    assert await admin.status("GET", location) == 404


async def test_a_streamed_upload_without_length_becomes_a_blob(admin: RegistryClient) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for number in range(300):
            yield bytes([number % 256]) * 9_999

    data = b"".join([piece async for piece in stream()])
    location = await admin.begin("a")

    assert await admin.status("PATCH", location, data=stream()) == 202
    assert await admin.status("PUT", f"{location}?digest={digest_of(data)}") == 201


async def test_a_wrong_range_is_416_and_tells_where_to_go_on(admin: RegistryClient) -> None:
    location = await admin.begin("a")
    assert await admin.status("PATCH", location, data=b"abc", headers={"Content-Range": "0-2"}) == 202

    for wrong in ("0-2", "4-6", "2-4", "3-9", "x", "bytes 9-11/*", "-1-2"):
        async with admin.request("PATCH", location, data=b"xyz", headers={"Content-Range": wrong}) as response:
            assert response.status == 416, wrong
            assert response.headers["Range"] == "0-2"
    wrong_end = {"Content-Range": "1-3"}
    assert await admin.status("PUT", f"{location}?digest={digest_of(b'abcxyz')}", data=b"xyz", headers=wrong_end) == 416

    assert await admin.status("PATCH", location, data=b"xyz", headers={"Content-Range": "bytes 3-5/*"}) == 202
    assert await admin.status("PUT", f"{location}?digest={digest_of(b'abcxyz')}") == 201


async def test_bytes_with_another_digest_are_refused_and_never_served(
    admin: RegistryClient, live: LiveRegistry
) -> None:
    path = f"/v2/a/blobs/uploads/?digest={NOWHERE}"
    assert await admin.refusal("POST", path, data=b"something else") == (400, "DIGEST_INVALID")
    location = await admin.begin("a")
    await admin.status("PATCH", location, data=b"something else")
    assert await admin.refusal("PUT", f"{location}?digest={NOWHERE}") == (400, "DIGEST_INVALID")

    assert await admin.refusal("GET", f"/v2/a/blobs/{NOWHERE}") == (404, "BLOB_UNKNOWN")
    assert await admin.status("GET", location) == 404
    assert live.files == []


async def test_two_requests_at_once_never_mix_in_one_upload(
    admin: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "CANCEL_SECONDS", 0.0)
    location = await admin.begin("a")
    first_came, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"first "
        first_came.set()
        await go_on.wait()
        yield b"second"

    slow = asyncio.create_task(admin.status("PATCH", location, data=slowly()))
    await first_came.wait()
    statuses = set()
    while 416 not in statuses:  # until the slow request holds the upload
        statuses.add(await admin.status("PATCH", location, data=b"", headers={"Content-Range": "0-0"}))
    assert await admin.status("PATCH", location, data=b"XXX") == 416
    assert await admin.status("PUT", f"{location}?digest={digest_of(b'XXX')}", data=b"XXX") == 416
    assert await admin.status("DELETE", location) == 416
    go_on.set()

    assert await slow == 202
    assert await admin.status("PUT", f"{location}?digest={digest_of(b'first second')}") == 201


async def test_a_cancelled_upload_is_gone(admin: RegistryClient, live: LiveRegistry) -> None:
    location = await admin.begin("a")
    await admin.status("PATCH", location, data=b"x")

    assert await admin.status("DELETE", location) == 204

    assert await admin.refusal("DELETE", location) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert await admin.refusal("PUT", f"{location}?digest={digest_of(b'x')}") == (404, "BLOB_UPLOAD_UNKNOWN")
    assert live.files == []


async def test_who_breaks_off_a_request_and_cancels_at_once_leaves_nothing(
    admin: RegistryClient, live: LiveRegistry
) -> None:
    location, began = await admin.begin("a"), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"first "
        began.set()
        await asyncio.Event().wait()

    slow = asyncio.create_task(admin.status("PATCH", location, data=endless()))
    await began.wait()
    for _ in range(5):
        assert await admin.status("GET", location) == 204  # it takes its turn behind the request that writes
    cancelled = asyncio.create_task(admin.status("DELETE", location))
    slow.cancel()

    assert await cancelled == 204
    assert live.files == []


async def test_only_its_owner_goes_on_with_an_upload_and_only_in_its_repository(
    admin: RegistryClient, live: LiveRegistry, session: aiohttp.ClientSession
) -> None:
    operator = RegistryClient(session, live.url, live.tokens[Role.OPERATOR])
    location = await admin.begin("a")

    for method in ("GET", "PATCH", "DELETE"):
        assert await operator.status(method, location) == 404
        assert await admin.status(method, location.replace("/v2/a/", "/v2/b/")) == 404
    assert await operator.status("PUT", f"{location}?digest={digest_of(b'')}") == 404
    assert await admin.status("GET", location) == 204


async def test_an_upload_goes_on_after_a_restart(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with live_registry(tmp_path) as live:
        first = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        location = await first.begin("a")
        await first.status("PATCH", location, data=b"before ")
    async with live_registry(tmp_path) as live:
        second = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        async with second.request("GET", location) as response:
            assert response.headers["Range"] == "0-6"
        assert await second.status("PATCH", location, data=b"after", headers={"Content-Range": "7-11"}) == 202
        assert await second.status("PUT", f"{location}?digest={digest_of(b'before after')}") == 201


async def test_an_upload_goes_on_after_the_client_was_cut_off(admin: RegistryClient) -> None:
    location = await admin.begin("a")

    async def cut_off() -> AsyncIterator[bytes]:
        yield b"x" * MIB
        raise OSError("the cable is pulled")

    with pytest.raises((aiohttp.ClientError, OSError)):
        await admin.status("PATCH", location, data=cut_off())
    kept = -1
    while kept < 0:  # until the server has noticed
        async with admin.request("GET", location) as response:
            kept = int(response.headers["Range"].partition("-")[2]) + 1
        headers = {"Content-Range": f"{kept}-{kept + 2}"}
        if await admin.status("PATCH", location, data=b"end", headers=headers) == 416:
            kept = -1

    assert await admin.status("PUT", f"{location}?digest={digest_of(b'x' * kept + b'end')}") == 201


async def test_a_mount_makes_a_blob_readable_in_the_other_repository(admin: RegistryClient) -> None:
    digest = await admin.push_blob("a", b"shared")
    assert await admin.status("GET", f"/v2/b/blobs/{digest}") == 404

    async with admin.request("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a") as response:
        assert response.status == 201
        assert response.headers["Location"] == f"/v2/b/blobs/{digest}"

    assert await admin.status("GET", f"/v2/b/blobs/{digest}") == 200


async def test_a_mount_that_is_not_possible_begins_an_upload(admin: RegistryClient) -> None:
    digest = await admin.push_blob("a", b"shared")

    for query in (
        f"?mount={digest}&from=c",
        f"?mount={NOWHERE}&from=a",
        f"?mount={NOWHERE}",
        "?mount=sha256:x&from=a",
        f"?mount={digest}&from=../a",
    ):
        await admin.begin("b", query)
    assert await admin.status("GET", f"/v2/b/blobs/{digest}") == 404


async def test_naming_the_digest_of_anothers_blob_gives_no_access_to_it(admin: RegistryClient) -> None:
    digest = await admin.push_blob("private", b"secret")

    await admin.begin("public", f"?digest={digest}")

    assert await admin.status("GET", f"/v2/public/blobs/{digest}") == 404
    path = f"/v2/public/blobs/uploads/?digest={digest}"
    assert await admin.status("POST", path, data=b"guess!") == 400
    assert await admin.status("GET", f"/v2/public/blobs/{digest}") == 404


async def test_an_empty_blob_can_be_pushed(admin: RegistryClient) -> None:
    assert await admin.status("POST", f"/v2/a/blobs/uploads/?digest={digest_of(b'')}") == 201
    assert await admin.status("GET", f"/v2/a/blobs/{digest_of(b'')}") == 200


async def test_several_parts_of_a_blob_come_in_one_answer(admin: RegistryClient) -> None:
    digest = await admin.push_blob("a", b"0123456789")

    asked = {"Range": "bytes=8-, 0-1,99-,4-5"}
    async with admin.request("GET", f"/v2/a/blobs/{digest}", headers=asked) as response:
        assert response.status == 206
        raw = await response.read()
        assert (len(raw), raw[-4:]) == (int(response.headers["Content-Length"]), b"--\r\n")
        head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    parts = [part for part in message_from_bytes(head + raw).walk() if not part.is_multipart()]
    assert [(part["Content-Type"], part["Content-Range"], part.get_payload()) for part in parts] == [
        ("application/octet-stream", "bytes 8-9/10", "89"),
        ("application/octet-stream", "bytes 0-1/10", "01"),
        ("application/octet-stream", "bytes 4-5/10", "45"),
    ]


@pytest.mark.parametrize("asked", ["bytes=4-2", "bytes=x-y", "bytes=-0", "bytes=10-,11-"])
async def test_a_range_without_bytes_is_416(admin: RegistryClient, asked: str) -> None:
    digest = await admin.push_blob("a", b"0123456789")

    refused = await admin.refusal("GET", f"/v2/a/blobs/{digest}", headers={"Range": asked})

    assert refused == (416, "SIZE_INVALID")


async def test_a_range_of_another_version_gets_the_whole_blob(admin: RegistryClient) -> None:
    digest = await admin.push_blob("a", b"0123456789")
    for version, status in ((f'"{digest}"', 206), ('"other"', 200), (f'W/"{digest}"', 200)):
        headers = {"Range": "bytes=0-1", "If-Range": version}
        assert await admin.status("GET", f"/v2/a/blobs/{digest}", headers=headers) == status


async def test_a_blob_that_the_client_has_is_not_sent_again(admin: RegistryClient) -> None:
    digest = await admin.push_blob("a", b"0123456789")
    for seen in ("*", f'"x", W/"{digest}"', f'"{digest}"'):
        assert await admin.status("GET", f"/v2/a/blobs/{digest}", headers={"If-None-Match": seen}) == 304
    assert await admin.status("GET", f"/v2/a/blobs/{digest}", headers={"If-None-Match": '"x"'}) == 200
    assert await admin.status("GET", f"/v2/a/blobs/{NOWHERE}", headers={"If-None-Match": "*"}) == 404


async def test_an_empty_blob_is_pulled_and_the_connection_goes_on(admin: RegistryClient) -> None:
    empty = digest_of(b"")
    assert await admin.status("POST", f"/v2/a/blobs/uploads/?digest={empty}") == 201

    for _ in range(3):
        async with admin.request("GET", f"/v2/a/blobs/{empty}") as response:
            assert (response.status, await response.read()) == (200, b"")
        assert await admin.refusal("GET", f"/v2/a/blobs/{empty}", headers={"Range": "bytes=0-"}) == (
            416,
            "SIZE_INVALID",
        )


async def test_a_file_that_shrank_ends_the_connection_and_is_never_filled_up(
    admin: RegistryClient, live: LiveRegistry
) -> None:
    digest = await admin.push_blob("a", b"x" * MIB)
    (file,) = [path for path in live.files if path.name == digest.partition(":")[2]]
    await asyncio.to_thread(os.truncate, file, 10)

    async with admin.request("GET", f"/v2/a/blobs/{digest}") as response:
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_content_is_known_by_sha512_too(admin: RegistryClient) -> None:
    def sha512(data: bytes) -> str:
        return f"sha512:{hashlib.sha512(data).hexdigest()}"

    config = sha512(b"{}")
    location = await admin.begin("a", "?digest-algorithm=sha512")
    async with admin.request("PUT", f"{location}?digest={config}", data=b"{}") as response:
        assert (response.status, response.headers["Docker-Content-Digest"]) == (201, config)
    body = json.dumps(image_manifest((config, 2))).encode()
    headers = {"Content-Type": OCI_MANIFEST}
    async with admin.request("PUT", f"/v2/a/manifests/{sha512(body)}?tag=x", data=body, headers=headers) as response:
        assert (response.status, response.headers["Docker-Content-Digest"]) == (201, sha512(body))

    for path in (f"blobs/{config}", f"manifests/{sha512(body)}", "manifests/x"):
        async with admin.request("GET", f"/v2/a/{path}") as response:
            assert sha512(await response.read()) == response.headers["Docker-Content-Digest"]
    assert await admin.status("DELETE", f"/v2/a/manifests/{sha512(body)}") == 202
    assert await admin.refusal("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5") == (400, "DIGEST_INVALID")


async def test_a_wrong_last_chunk_is_told_where_to_go_on(admin: RegistryClient) -> None:
    location = await admin.begin("a")
    await admin.status("PATCH", location, data=b"abc")

    path = f"{location}?digest={digest_of(b'abcdef')}"
    async with admin.request("PUT", path, data=b"def", headers={"Content-Range": "9-11"}) as response:
        assert response.status == 416
        assert (response.headers["Location"], response.headers["Range"]) == (location, "0-2")
    assert await admin.status("PUT", path, data=b"def", headers={"Content-Range": "3-5"}) == 201


async def test_a_chunk_that_is_not_as_long_as_it_says_is_refused(admin: RegistryClient) -> None:
    async def short() -> AsyncIterator[bytes]:
        yield b"abc"

    location = await admin.begin("a")
    async with admin.request("PATCH", location, data=short(), headers={"Content-Range": "0-9"}) as response:
        assert response.status == 400
        assert json.loads(await response.read())["errors"][0]["code"] == "SIZE_INVALID"
        assert response.headers["Range"] == "0-2"


async def test_a_mount_without_a_source_finds_the_blob_where_it_is(admin: RegistryClient) -> None:
    digest = await admin.push_blob("somewhere", b"shared")

    async with admin.request("POST", f"/v2/b/blobs/uploads/?mount={digest}") as response:
        assert response.status == 201
        assert response.headers["Docker-Content-Digest"] == digest
    assert await admin.status("GET", f"/v2/b/blobs/{digest}") == 200
