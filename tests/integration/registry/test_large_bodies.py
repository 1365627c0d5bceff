"""Bodies that are large enough to be read past the event loop, by clients that do what clients do."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import socket
import struct
from pathlib import Path

import pytest

from lumper.model.people.people import Role
from parts.registries.live_registry import LiveRegistry, RegistryClient, digest_of
from parts.suite.eventually import eventually

MIB = 1 << 20
DATA = os.urandom(9 * MIB + 17)

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


async def _begun(live: LiveRegistry, method: str, path: str, size: int, more: str = "") -> tuple[Reader, Writer]:
    """A connection on which the head of a request was sent."""
    host, _, port = live.host.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"{method} {path} HTTP/1.1\r\nHost: {live.host}\r\nAuthorization: Bearer {live.tokens[Role.ADMIN]}\r\n"
        f"Content-Length: {size}\r\n{more}\r\n".encode()
    )
    return reader, writer


async def _size(admin: RegistryClient, location: str) -> int:
    async with admin.request("GET", location) as response:
        assert response.status == 204
        return int(response.headers["Range"].partition("-")[2]) + 1


async def _until_size(admin: RegistryClient, location: str, size: int) -> None:
    async def there() -> bool:
        return await _size(admin, location) == size

    await eventually(there)


@pytest.mark.parametrize("way", ["PATCH", "PUT", "POST"])
async def test_a_large_body_becomes_the_blob_that_was_sent(admin: RegistryClient, way: str) -> None:
    digest = digest_of(DATA)
    location = "/v2/a/blobs/uploads/" if way == "POST" else await admin.begin("a")
    path = location if way == "PATCH" else f"{location}?digest={digest}"
    async with admin.request(way, path, data=io.BytesIO(DATA)) as response:
        assert response.status == (202 if way == "PATCH" else 201)
        assert response.headers["Connection"] == "close"
    if way == "PATCH":
        assert await admin.status("PUT", f"{location}?digest={digest}") == 201

    async with admin.request("GET", f"/v2/a/blobs/{digest}") as response:
        assert await response.read() == DATA


async def test_after_a_smaller_body_the_connection_goes_on(admin: RegistryClient) -> None:
    async with admin.request("PATCH", await admin.begin("a"), data=io.BytesIO(DATA[: 3 * MIB])) as response:
        assert response.status == 202
        assert "Connection" not in response.headers


async def test_a_large_body_with_another_digest_is_refused(admin: RegistryClient) -> None:
    path = f"/v2/a/blobs/uploads/?digest={digest_of(b'else')}"
    assert await admin.refusal("POST", path, data=io.BytesIO(DATA)) == (400, "DIGEST_INVALID")


async def test_a_body_that_comes_in_bits_is_taken_as_it_comes(admin: RegistryClient, live: LiveRegistry) -> None:
    location = await admin.begin("a")
    reader, writer = await _begun(live, "PATCH", location, len(DATA))
    at = 0
    for size in (1, 70_000, 3 * MIB, 1, len(DATA)):
        writer.write(DATA[at : at + size])
        at += size
        if at < len(DATA):
            await _until_size(admin, location, at)  # all of it arrives although nothing follows
    assert (await reader.readline()).startswith(b"HTTP/1.1 202")
    writer.close()
    assert await admin.status("PUT", f"{location}?digest={digest_of(DATA)}") == 201


async def test_after_a_client_went_away_the_upload_goes_on_where_it_was(
    admin: RegistryClient, live: LiveRegistry
) -> None:
    location = await admin.begin("a")
    _, writer = await _begun(live, "PATCH", location, len(DATA))
    writer.write(DATA[: 5 * MIB])
    await _until_size(admin, location, 5 * MIB)
    writer.transport.abort()

    rest = DATA[5 * MIB :]
    where = {"Content-Range": f"{5 * MIB}-{len(DATA) - 1}"}

    async def taken() -> bool:  # once the first request has given the upload up
        return await admin.status("PATCH", location, data=io.BytesIO(rest), headers=where) == 202

    await eventually(taken)
    assert await admin.status("PUT", f"{location}?digest={digest_of(DATA)}") == 201


async def test_a_client_that_ends_its_half_is_told_so(admin: RegistryClient, live: LiveRegistry) -> None:
    location = await admin.begin("a")
    reader, writer = await _begun(live, "PATCH", location, len(DATA))
    writer.write(DATA[:MIB])
    writer.write_eof()
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_a_large_body_that_is_announced_is_asked_for(admin: RegistryClient, live: LiveRegistry) -> None:
    location = await admin.begin("a")
    path = f"{location}?digest={digest_of(DATA)}"
    reader, writer = await _begun(live, "PUT", path, len(DATA), "Expect: 100-continue\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(DATA)
    assert (await reader.readline()).startswith(b"HTTP/1.1 201")
    writer.close()


async def test_a_body_that_was_waited_for_is_no_longer_watched(
    admin: RegistryClient, live: LiveRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next connection that gets its descriptor is not heard."""
    monkeypatch.setattr("lumper.web.oci.bytes.large_bodies._PATIENCE_MS", 0)
    location = await admin.begin("a")
    reader, writer = await _begun(live, "PATCH", location, len(DATA))
    writer.write(DATA[:MIB])
    await _until_size(admin, location, MIB)
    writer.write(DATA[MIB:])
    assert (await reader.read()).startswith(b"HTTP/1.1 202")
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(60):
        for reader, writer in [await _begun(live, "GET", location, 0) for _ in range(20)]:
            assert (await reader.readline()).startswith(b"HTTP/1.1 204")
            writer.close()


async def test_after_a_large_body_the_connection_ends_at_once(live: LiveRegistry) -> None:
    """aiohttp has not seen the body, and would wait for its end, by itself for ten seconds."""
    assert live.runner.server is not None
    live.runner.server._kwargs["lingering_time"] = 3600.0
    reader, writer = await _begun(live, "POST", f"/v2/a/blobs/uploads/?digest={digest_of(DATA)}", len(DATA))
    writer.write(DATA)
    async with asyncio.timeout(60):
        assert (await reader.read()).startswith(b"HTTP/1.1 201")
    writer.close()


async def test_many_slow_uploads_hold_up_nobody(admin: RegistryClient, live: LiveRegistry) -> None:
    slow = [await _begun(live, "PATCH", await admin.begin("a"), len(DATA)) for _ in range(12)]
    for _, writer in slow:
        writer.write(DATA[:1000])
    async with asyncio.timeout(60):
        await admin.push_blob("a", DATA)
        for reader, writer in slow:
            writer.write(DATA[1000:])
            assert (await reader.readline()).startswith(b"HTTP/1.1 202")
    for _, writer in slow:
        writer.close()


LARGE = os.urandom(MIB) * 32  # more than a connection takes before somebody reads


async def _asked(live: LiveRegistry, digest: str) -> tuple[Reader, Writer]:
    """A connection on which a blob is on its way: the head of the answer was read."""
    reader, writer = await _begun(live, "GET", f"/v2/a/blobs/{digest}", 0)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    return reader, writer


async def test_many_slow_downloads_hold_up_nobody(admin: RegistryClient, live: LiveRegistry) -> None:
    digest = await admin.push_blob("a", LARGE)
    slow = [await _asked(live, digest) for _ in range(12)]
    async with asyncio.timeout(60):
        async with admin.request("GET", f"/v2/a/blobs/{digest}") as response:
            assert await response.read() == LARGE
        for reader, writer in slow:
            assert await reader.readexactly(len(LARGE)) == LARGE
            writer.close()


async def test_a_client_that_says_it_sends_no_more_gets_all_of_a_blob(
    admin: RegistryClient, live: LiveRegistry
) -> None:
    digest = await admin.push_blob("a", LARGE)
    reader, writer = await _asked(live, digest)
    writer.write_eof()
    async with asyncio.timeout(60):
        assert await reader.readexactly(len(LARGE)) == LARGE
    writer.close()


async def test_a_blob_comes_in_full_segments(admin: RegistryClient, live: LiveRegistry) -> None:
    digest = await admin.push_blob("a", LARGE)
    size, segments, largest = await asyncio.to_thread(_received, live, digest)
    assert size >= len(LARGE)
    assert size / segments > largest * 0.9  # with the rest of each 64 kB on its own it is less


def _received(live: LiveRegistry, digest: str) -> tuple[int, int, int]:
    """Of a whole answer: its bytes, the segments in which they came, and how large one may be.

    Source: the kernel's struct tcp_info, tcpi_bytes_received, tcpi_segs_in, tcpi_advmss.
    """
    host, _, port = live.host.partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: {live.host}\r\nConnection: close\r\n"
            f"Authorization: Bearer {live.tokens[Role.ADMIN]}\r\n\r\n".encode()
        )
        room = bytearray(MIB)
        while connection.recv_into(room, MIB, socket.MSG_TRUNC):  # thrown away, to be as quick as the server
            pass
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    largest, received, segments = (
        struct.unpack_from(form, told, at)[0] for form, at in (("I", 84), ("Q", 128), ("I", 140))
    )
    return received, segments, largest


async def test_clients_that_go_away_in_the_middle_of_a_blob_leave_nothing_open(
    admin: RegistryClient, live: LiveRegistry
) -> None:
    digest = await admin.push_blob("a", LARGE)

    async def gone() -> bool:
        return digest[7:] not in {Path(name).name for name in await asyncio.to_thread(_open_files)}

    for _ in range(6):
        _, writer = await _asked(live, digest)
        assert not await gone()
        writer.transport.abort()
    await eventually(gone)


def _open_files() -> list[str]:
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            found.append(str(path.readlink()))
    return found
