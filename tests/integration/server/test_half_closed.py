"""Clients that say with their request that they send no more, and such that speak of another version of HTTP."""

from __future__ import annotations

import asyncio
import os
import re

import pytest

from lumper.model.people.people import Role
from parts.registries.live_registry import LiveRegistry, RegistryClient, digest_of

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
SECONDS = 60.0  # below the 75 after which an idle connection is closed


def request(live: LiveRegistry, method: str, path: str, headers: str = "", body: bytes = b"") -> bytes:
    """A request that leaves the connection open."""
    token = live.tokens[Role.ADMIN]
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{headers}"
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{head}{length}\r\n".encode() + body


async def told(live: LiveRegistry, data: bytes) -> tuple[list[int], bytes]:
    """Send it, say that nothing more comes, and read to the end: the statuses, and all bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(live.host.rpartition(":")[2]))
    try:
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(SECONDS):
            came = await reader.read()
    finally:
        writer.close()
    return [int(status) for status in _STATUS.findall(came)], came


async def test_what_was_asked_for_whole_is_answered(live: LiveRegistry, admin: RegistryClient) -> None:
    digest = await admin.push_image("a", "x", os.urandom(200_000))
    manifest = request(live, "GET", "/v2/a/manifests/x")
    for one in (
        request(live, "GET", "/v2/"),
        request(live, "GET", "/v2/a/tags/list"),
        manifest,  # by aiohttp, then from memory
        manifest,
        request(live, "HEAD", f"/v2/a/manifests/{digest}"),
        request(live, "GET", "/v2/a/tags/list").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ):
        got, came = await told(live, one)
        assert got == [200] or b"HTTP/1.0 200" in came, came


async def test_a_push_is_stored(live: LiveRegistry, admin: RegistryClient) -> None:
    for size in (10, 60_000, 300_000, 5 << 20):
        data = os.urandom(size)
        location = await admin.begin("a")
        got, came = await told(live, request(live, "PUT", f"{location}?digest={digest_of(data)}", "", data))
        assert got == [201], came
        async with admin.request("GET", f"/v2/a/blobs/{digest_of(data)}") as response:
            assert await response.read() == data


async def test_requests_that_came_together_are_all_answered(live: LiveRegistry, admin: RegistryClient) -> None:
    await admin.push_image("a", "x")
    data = os.urandom(1000)
    push = request(live, "PUT", f"{await admin.begin('a')}?digest={digest_of(data)}", "", data)
    look = request(live, "GET", "/v2/a/manifests/x")

    got, came = await told(live, look + push + look + request(live, "GET", "/v2/a/tags/list") + look)

    assert got == [200, 201, 200, 200, 200], came


@pytest.mark.parametrize("length", ["Content-Length: 70000\r\n", "Transfer-Encoding: chunked\r\n"])
async def test_a_body_without_its_end_is_told_as_such(live: LiveRegistry, admin: RegistryClient, length: str) -> None:
    location = await admin.begin("a")
    begun = request(live, "PATCH", location, length) + b"5\r\nhello\r\n"

    assert (await told(live, begun))[0] == [400]
    assert (await told(live, request(live, "GET", "/v2/") + begun))[0] == [200, 400]


async def test_half_a_request_and_none_at_all_end_the_connection(live: LiveRegistry, admin: RegistryClient) -> None:
    small = request(live, "PUT", f"{await admin.begin('a')}?digest={digest_of(b'hello')}", "Content-Length: 5\r\n")
    for data in (b"", b"GET /v2/ HTT", request(live, "GET", "/v2/")[:-2], small + b"hel"):
        assert await told(live, data) == ([], b"")
    assert await admin.status("GET", f"/v2/a/blobs/{digest_of(b'hello')}") == 404


@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/2.0"])
async def test_another_version_of_http_is_refused_in_ours(live: LiveRegistry, version: str) -> None:
    for path in ("/v2/", "/nowhere"):
        asked = request(live, "GET", path).replace(b"HTTP/1.1", version.encode())
        got, came = await told(live, asked)
        assert got == [505], came
        assert version.encode() not in came
