"""Bytes that no client sends by mistake: the answer is an error or an end, the server lives, and uploads stay whole."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path

import aiohttp
import pytest

from lumper import logs
from lumper.model.people.people import Role
from lumper.web.oci.bytes import body as bodies
from parts.registries.live_registry import LiveRegistry, RegistryClient, digest_of, live_registry
from parts.servers.raw_http import head, sent

END = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
MANY = 100_000
SHA = "sha256:" + "a" * 64


ODD_PATHS: list[tuple[bytes, tuple[int, ...]]] = [
    (b"/v2/a%/manifests/x", (400,)),
    (b"/v2/a%z0/manifests/x", (400,)),
    (b"/v2/a%00/manifests/x", (400,)),
    (b"/v2/a/manifests/x%00y", (404,)),
    (b"/v2/%c0%ae%c0%ae/manifests/x", (400,)),
    (b"/v2/%ed%a0%80/manifests/x", (400,)),
    (b"/v2/\xff\xfe/manifests/x", (400,)),
    (b"/v2/a\0/manifests/x", (400,)),
    (b"/v2/a b/manifests/x", (400,)),
    (b"/v2/a\t/manifests/x", (400,)),
    (b"/v2/a/manifests/" + b"x" * MANY, (400,)),
    (b"/v2/a/manifests/" + b"x" * 10_000, (414,)),
    (b"/v2/_catalog?last=" + b"x" * 10_000, (414,)),
    (b"/v2/" + b"a/" * 2000 + b"manifests/x", (400,)),
    (b"//v2/", (404,)),
    (b"/v2/../v2/_catalog", (400, 404)),
    (b"/v2/_catalog?n=%zz", (400,)),
    (b"/v2/_catalog?n=-1", (400,)),
    (b"/v2/_catalog?n=+1", (400,)),
    (b"/v2/_catalog?n=1&n=x", (200, 400)),
    (b"/v2/_catalog?n=" + b"9" * 5000, (400,)),
    (b"/v2/_catalog?last=%ff", (200,)),
    (b"/v2/_catalog?last=%00", (200,)),
    (b"/v2/_catalog?last=%ed%a0%80", (200,)),
    (b"/v2/_catalog?" + b"&" * 4000, (200,)),
    (b"/v2/_catalog?;;;=%26&&==", (200,)),
    (f"/v2/a/referrers/{SHA}?artifactType=%ff&artifactType=%00&n=999999999".encode(), (200,)),
    (f"/v2/a/referrers/{SHA}?last=%00".encode(), (200,)),
    (f"/v2/a/referrers/{SHA}?n=-1".encode(), (400,)),
    (b"http://evil.example/v2/_catalog", (200,)),
    (b"http://[::1/v2/", (400,)),
    (b"*", (400, 404)),
    (b"127.0.0.1:22", (400, 404)),
]


async def test_an_odd_address_is_an_error_or_an_empty_list(tmp_path: Path, database_url: str) -> None:
    async with live_registry(tmp_path, database_url=database_url) as live:
        for path, statuses in ODD_PATHS:
            got, came = await sent(live, head(live, "GET", path, END))
            assert len(got) == 1, (path, came)
            assert got[0] in statuses, (path, came)
            assert b"Traceback" not in came


ODD_ITEMS = [
    "%00",
    "x%00y",
    "%ff",
    "%ed%a0%80",
    f"{SHA}%00",
    "sha256:%00",
    "%F0%9F%9A%80",
    "..",
    "%2e%2e%2fx",
    "x" * 4000,
]


async def test_an_odd_item_of_a_repository_is_refused_by_every_method(tmp_path: Path, database_url: str) -> None:
    async with live_registry(tmp_path, database_url=database_url) as live, aiohttp.ClientSession() as session:
        await RegistryClient(session, live.url, live.tokens[Role.ADMIN]).push_image("a", "x")
        body = END + b"Content-Length: 2\r\n"
        for item in ODD_ITEMS:
            for method, path, headers in (
                *((method, f"/v2/a/manifests/{item}", END) for method in ("GET", "HEAD", "DELETE")),
                *((method, f"/v2/a/blobs/{item}", END) for method in ("GET", "HEAD", "DELETE")),
                *((method, f"/v2/a/blobs/uploads/{item}", END) for method in ("GET", "DELETE")),
                *((method, f"/v2/a/blobs/uploads/{item}", body) for method in ("PATCH", "PUT")),
                ("PUT", f"/v2/a/manifests/{item}", body),
                ("POST", f"/v2/a/blobs/uploads/?digest={item}", body),
                ("GET", f"/v2/a/referrers/{item}", END),
            ):
                got, came = await sent(live, head(live, method, path, headers), b"{}" if headers is body else b"")
                assert got[0] in (400, 404, 405, 416), (method, path[:60], came)
            for query in (f"mount={item}", f"mount={SHA}&from={item}", f"digest-algorithm={item}"):
                got, came = await sent(live, head(live, "POST", f"/v2/a/blobs/uploads/?{query}", END))
                assert got[0] in (202, 400), (query, came)


ODD_HEADS = [
    b"Content-Length: 2\r\nContent-Length: 3\r\n",
    b"Content-Length: 2\r\nContent-Length: 2\r\n",
    b"Content-Length: 2, 2\r\n",
    b"Content-Length: 2\r\n" + CHUNKED,
    CHUNKED + b"Content-Length: 2\r\n",
    b"Content-Length: -2\r\n",
    b"Content-Length: +2\r\n",
    b"Content-Length: 0x2\r\n",
    b"Content-Length: " + b"9" * 40 + b"\r\n",
    b"Content-Length:\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"X: " + b"a" * MANY + b"\r\n",
    b"".join(b"X%d: a\r\n" % number for number in range(10_000)),
    b"X: a\r\n folded\r\n",
    b"X: a\0b\r\n",
    b"X : a\r\n",
    b"no colon\r\n",
    b": no name\r\n",
    b"Host: y\r\n",
    b"X: bare\nY: line feed\r\n",
]


async def test_a_head_that_two_readers_could_read_in_two_ways_is_refused(live: LiveRegistry) -> None:
    for headers in ODD_HEADS:
        got, came = await sent(live, head(live, "PUT", "/v2/a/manifests/x", END + headers), b"2\r\n{}\r\n0\r\n\r\n")
        assert got == [400], (headers[:60], came[:400])


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"deflate, chunked"])
async def test_a_body_in_a_coding_that_nobody_undoes_is_refused(live: LiveRegistry, coding: bytes) -> None:
    headers = END + b"Transfer-Encoding: " + coding + b"\r\n"

    got, came = await sent(live, head(live, "PUT", "/v2/a/manifests/x", headers), b"2\r\n{}\r\n0\r\n\r\n")

    assert got in ([400], [415]), came


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /v2/\r\n\r\n",
        b"GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n",
        b"G@T /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"A" * 20_000 + b" /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
        b"\r\n" * 10_000 + b"GET",
        bytes(range(256)) * 40,
        b"GET /v2/ HTT",
    ],
)
async def test_what_is_no_request_ends_the_connection(live: LiveRegistry, request_bytes: bytes) -> None:
    got, came = await sent(live, request_bytes, half=True)

    assert all(status in (400, 401, 505) for status in got), came
    assert (await sent(live, head(live, "GET", "/v2/", END)))[0] == [200]


BROKEN_BODIES = [
    b"zz\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"f" * 40 + b"\r\nhello\r\n0\r\n\r\n",
    b"5;" + b"a" * (4 * MANY) + b"\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloworld\r\n0\r\n\r\n",
    b"5\r\nhello\r\n5\r\nwor",
    b"5\r\nhello",
]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_broken_body_never_becomes_a_blob(live: LiveRegistry, admin: RegistryClient, method: str) -> None:
    wanted = [digest_of(data) for data in (b"hello", b"", b"hellowor", b"helloworld")]
    for broken in BROKEN_BODIES:
        location = await admin.begin("a")
        query = f"?digest={wanted[0]}" if method == "PUT" else ""
        got, came = await sent(live, head(live, method, location + query, END + CHUNKED), broken, half=True)
        assert all(status in (201, 202, 400) for status in got), came
        if method == "PATCH" and await admin.status("GET", location) == 204:
            async with admin.request("GET", location) as response:
                assert response.headers["Range"] in ("0-0", "0-4", "0-7")
    for digest in wanted[1:]:
        assert await admin.status("GET", f"/v2/a/blobs/{digest}") == 404


async def test_requests_that_come_together_are_answered_one_by_one(live: LiveRegistry, admin: RegistryClient) -> None:
    first, second = os.urandom(1000), os.urandom(1000)

    def push(data: bytes) -> bytes:
        size = b"Content-Length: %d\r\n" % len(data)
        return head(live, "POST", f"/v2/a/blobs/uploads/?digest={digest_of(data)}", size) + data

    ping = head(live, "GET", "/v2/", b"Content-Length: 5\r\n") + b"hello"
    last = head(live, "HEAD", f"/v2/a/blobs/{digest_of(second)}", END)
    got, came = await sent(live, push(first) + ping + push(second) + last)

    assert got == [201, 200, 201, 200], came
    for data in (first, second):
        async with admin.request("GET", f"/v2/a/blobs/{digest_of(data)}") as response:
            assert await response.read() == data


async def test_what_comes_behind_a_large_body_is_no_part_of_it(live: LiveRegistry, admin: RegistryClient) -> None:
    data = os.urandom(5 << 20)
    size = b"Content-Length: %d\r\n" % len(data)
    push = head(live, "POST", f"/v2/a/blobs/uploads/?digest={digest_of(data)}", size)
    behind = head(live, "DELETE", f"/v2/a/blobs/{digest_of(data)}", END)

    got, _ = await sent(live, push + data + behind)

    assert got in ([201], [201, 202])
    if got == [201]:
        async with admin.request("GET", f"/v2/a/blobs/{digest_of(data)}") as response:
            assert await response.read() == data


async def test_a_request_behind_a_refused_body_is_never_read_as_one(live: LiveRegistry, admin: RegistryClient) -> None:
    kept = await admin.push_blob("a", b"kept")
    smuggled = head(live, "DELETE", f"/v2/a/blobs/{kept}")
    size = b"Content-Length: %d\r\n" % (100 << 20)

    got, _ = await sent(live, head(live, "PUT", "/v2/a/manifests/x", size), smuggled, answers=1)

    assert got == [413]
    assert await admin.status("GET", f"/v2/a/blobs/{kept}") == 200


async def test_a_manifest_without_an_announced_end_is_refused_at_4_mib(live: LiveRegistry) -> None:
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    got, _ = await sent(live, head(live, "PUT", "/v2/a/manifests/x", END + CHUNKED), *[piece] * 80, answers=1)

    assert got in ([413], [])  # a client that does not stop sending may lose the answer, not the server its memory


@pytest.mark.parametrize("length", [b"5", b"5000000"])
async def test_a_body_of_which_nothing_comes_is_given_up(
    live: LiveRegistry, admin: RegistryClient, monkeypatch: pytest.MonkeyPatch, length: bytes
) -> None:
    for module in ("lumper.web.oci.bytes.body", "lumper.web.oci.bytes.large_bodies"):
        monkeypatch.setattr(f"{module}.IDLE_SECONDS", 0.2)
    location = await admin.begin("a")

    request = head(live, "PATCH", location, b"Content-Length: " + length + b"\r\n")
    got, came = await sent(live, request, b"abc", answers=1)

    assert (got, b"No byte came" in came) == ([400], True)
    async with admin.request("GET", location) as response:
        assert response.headers["Range"] == "0-2"
    assert bodies.IDLE_SECONDS == 0.2


@pytest.mark.parametrize("expected", [b"100-continue", b"200-ok", b"100-continue, x"])
async def test_an_expectation_is_met_or_passed_over(live: LiveRegistry, expected: bytes) -> None:
    headers = END + b"Content-Length: 2\r\nExpect: " + expected + b"\r\n"

    got, came = await sent(live, head(live, "PUT", "/v2/a/manifests/x", headers), b"{}")

    assert got[-1] in (400, 417), came
    assert got[:-1] in ([], [100])


@pytest.mark.parametrize(
    "credentials",
    [
        b"Basic \xff\xff",
        b"Basic " + b"A" * 8000,
        b"Basic Og==",
        b"Basic " + b"/////w==",
        b"Bearer \xff.\xff.\xff",
        b"Bearer ..",
        b"Bearer eyJhbGciOiJub25lIn0.e30.",
        b"Bearer",
        b"",
        b"Negotiate x",
        b"Bearer a b c",
    ],
)
async def test_odd_credentials_are_a_challenge(live: LiveRegistry, credentials: bytes) -> None:
    request = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: " + credentials + b"\r\n" + END + b"\r\n"

    got, came = await sent(live, request)

    assert got == [401]
    assert b"WWW-Authenticate: Bearer" in came


@pytest.mark.parametrize("name", ["x%22y", 'x"y', "x,y", "x\\y", "é"])
async def test_a_scope_that_could_end_the_challenge_is_not_repeated(live: LiveRegistry, name: str) -> None:
    request = f"GET /v2/{name}/tags/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()

    got, came = await sent(live, request)

    assert got == [400]
    assert b"WWW-Authenticate" not in came


@pytest.mark.parametrize(
    "header",
    [
        b"Range: bytes=" + b"0-0," * 1900 + b"0-0",
        b"Range: bytes=-" + b"9" * 30,
        b"Range: bytes=" + b"9" * 30 + b"-",
        b"Range: bytes=--1",
        b"Range: bytes=0-\xff",
        b"If-None-Match: " + b'"x",' * 1900,
        b"If-Range: \xff",
        b"Accept-Encoding: gzip, br;q=\xff",
    ],
)
async def test_an_odd_header_of_a_read_is_passed_over_or_416(
    live: LiveRegistry, admin: RegistryClient, header: bytes
) -> None:
    digest = await admin.push_blob("a", b"0123456789")

    got, came = await sent(live, head(live, "GET", f"/v2/a/blobs/{digest}", END + header + b"\r\n"))

    assert got in ([200], [206], [416]), came


@pytest.mark.parametrize("told", [b"9" * 100 + b"-" + b"9" * 100, b"-1-0", b"0-", b"0-0-0", b"\xff", b"1e1-2", b"5-3"])
async def test_an_odd_range_of_an_upload_is_416(live: LiveRegistry, admin: RegistryClient, told: bytes) -> None:
    location = await admin.begin("a")
    headers = END + b"Content-Length: 1\r\nContent-Range: " + told + b"\r\n"

    got, came = await sent(live, head(live, "PATCH", location, headers), b"x")

    assert got == [416], came
    assert b"Range: 0-0" in came


@pytest.mark.parametrize("size", [1000, 100_000, 9 << 20])  # whole, in pieces, and past the event loop
async def test_uploads_that_end_at_once_leave_nothing_behind(
    live: LiveRegistry, admin: RegistryClient, size: int
) -> None:
    post = head(live, "POST", f"/v2/a/blobs/uploads/?digest={SHA}", b"Content-Length: %d\r\n" % size)

    await asyncio.gather(*(sent(live, post, b"x" * (size // 90), half=True) for _ in range(20)))

    assert live.files == []
    assert await admin.status("GET", "/v2/") == 200


async def test_a_request_that_is_none_tells_the_log_no_secret(
    live: LiveRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    server = logging.getLogger("aiohttp.server")
    server.addFilter(logs.is_ours)
    try:
        got, _ = await sent(live, head(live, "GET", "/v2/").replace(b"\r\n\r\n", b"\n\r\n\r\n"))
    finally:
        server.removeFilter(logs.is_ours)

    assert got == [400]
    assert live.tokens[Role.ADMIN] not in caplog.text


async def test_a_client_that_goes_away_in_the_middle_of_a_body_is_no_matter_for_the_log(
    live: LiveRegistry, admin: RegistryClient, caplog: pytest.LogCaptureFixture
) -> None:
    server = logging.getLogger("aiohttp.server")
    server.addFilter(logs.is_ours)
    try:
        location = await admin.begin("a")
        for method, path in (
            ("PATCH", location),
            ("POST", f"/v2/a/blobs/uploads/?digest={SHA}"),
            ("PUT", "/v2/a/manifests/x"),
        ):
            await sent(live, head(live, method, path, b"Content-Length: 70000\r\n"), b"x" * 1000, half=True)
        await sent(live, head(live, "GET", "/v2/token", END))
    finally:
        server.removeFilter(logs.is_ours)

    assert caplog.text == ""


async def test_a_large_error_of_the_registry_is_json(live: LiveRegistry) -> None:
    _, came = await sent(live, head(live, "GET", "/v2/" + "a" * 4000 + "/manifests/x", END))

    assert json.loads(came.partition(b"\r\n\r\n")[2])["errors"][0]["code"] == "NAME_INVALID"
