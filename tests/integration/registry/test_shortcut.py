"""The shortcut past aiohttp: what it answers is what aiohttp answers, byte for byte, and never out of date."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.web_protocol import RequestHandler
from hypothesis import given, settings
from hypothesis import strategies as st

from lumper.registry.access import Anonymous
from lumper.web.auth.rate_limits import RateLimits
from lumper.web.connection.shortcut import Shortcut
from parts.registries.live_registry import OCI_MANIFEST
from parts.registries.two_ways import (
    DIGEST,
    LAYER,
    MANIFEST,
    Send,
    Ways,
    before_the_nonsense,
    connected,
    spoken,
    two_ways,
)


@pytest.fixture
async def ways(tmp_path: Path) -> AsyncIterator[Ways]:
    async with two_ways(tmp_path) as made:
        yield made


ITEMS = [
    *(f"{kind}/{item}" for kind in ("manifests", "blobs") for item in ("latest", "missing", DIGEST, LAYER, "sha256:x")),
    "tags/list",
    f"referrers/{DIGEST}",
    "blobs/uploads",
]
PATHS = [
    *(f"/v2/a/b/{item}" for item in ITEMS),
    *(f"/v2/{name}/manifests/latest" for name in ("a/b/c", "A", "", "blobs/uploads", "a%2Fb", "a/b/../b")),
    "/v2/a/b/manifests/latest?tag=x",
    "/v2/",
    "/v2",
]


@pytest.mark.parametrize(
    ("credentials", "anonymous"),
    [
        *((who, "none") for who in ("basic", "admin", "mailer", "scoped", "Bearer x", "Digest x", "")),
        *((who, "pull") for who in ("mailer", "Bearer x", "")),
        ("", "push"),
    ],
)
async def test_both_ways_give_the_same_answers(tmp_path: Path, credentials: str, anonymous: Anonymous) -> None:
    async with two_ways(tmp_path, anonymous) as ways:
        for path in PATHS:
            for method in ("GET", "HEAD", "OPTIONS"):
                request = ways.request(method, path, credentials)
                wanted = await spoken(ways.aiohttp, request)  # from now on it is remembered, if it is worth it
                assert await spoken(ways.shortcut, request) == wanted, request


@pytest.mark.parametrize("credentials", ["basic", "admin", "scoped"])
async def test_what_was_asked_for_before_is_answered_by_shortcut(ways: Ways, credentials: str) -> None:
    for method, path in (
        ("GET", "/v2/a/b/manifests/latest"),
        ("HEAD", "/v2/a/b/manifests/latest"),
        ("GET", f"/v2/a/b/manifests/{DIGEST}"),
        ("HEAD", f"/v2/a/b/blobs/{LAYER}"),
    ):
        request = ways.request(method, path, credentials)
        assert (await spoken(ways.aiohttp, request)).startswith(b"HTTP/1.1 200")
        before = ways.answered_by_aiohttp
        assert (await spoken(ways.shortcut, request, request, request)).count(b"HTTP/1.1 200") == 3
        assert ways.answered_by_aiohttp == before + 1, "aiohttp has answered more than the last request"


async def test_limits_hold_on_both_ways_together(tmp_path: Path) -> None:
    async with two_ways(tmp_path, limits=RateLimits(pulls=4)) as ways:
        request = ways.request("GET", "/v2/a/b/manifests/latest", "admin")
        left = []
        for way in (ways.aiohttp, ways.shortcut, ways.aiohttp, ways.shortcut):
            left += re.findall(rb"RateLimit-Remaining: (\d)", await spoken(way, request))
        assert left == [b"3", b"2", b"1", b"0"]
        assert (await spoken(ways.shortcut, request)).startswith(b"HTTP/1.1 429")


async def test_a_connection_on_which_other_things_happen_comes_back_to_the_shortcut(ways: Ways) -> None:
    known = ways.request("GET", "/v2/a/b/manifests/latest", "admin")
    put = ways.request("PUT", "/v2/a/b/manifests/other", "admin", f"Content-Type: {OCI_MANIFEST}", body=MANIFEST)
    async with connected(ways.shortcut) as (send, client, _):
        for piece in (known, put[:-100], put[-100:]):
            await send(piece)
        answers = b""
        while b"HTTP/1.1 201" not in answers:
            answers += await asyncio.get_running_loop().sock_recv(client, 65536)
        await spoken(ways.aiohttp, known)  # the push has made it forgotten
        before = ways.answered_by_aiohttp
        await send(known)
        assert (await asyncio.get_running_loop().sock_recv(client, 65536)).startswith(b"HTTP/1.1 200")
    assert ways.answered_by_aiohttp == before


async def test_changes_are_seen_at_once(ways: Ways) -> None:
    manifest = ways.request("HEAD", "/v2/a/b/manifests/latest", "admin")
    blob = ways.request("HEAD", f"/v2/a/b/blobs/{LAYER}", "admin")
    for request in (manifest, blob):
        for _ in range(2):
            assert (await spoken(ways.shortcut, request)).startswith(b"HTTP/1.1 200")
    moved = await ways.admin.push_image("a/b", "latest", b"another layer")
    assert moved.encode() in await spoken(ways.shortcut, manifest)
    assert await ways.admin.status("DELETE", f"/v2/a/b/manifests/{moved}") == 202
    assert (await spoken(ways.shortcut, manifest)).startswith(b"HTTP/1.1 404")
    assert await ways.admin.status("DELETE", f"/v2/a/b/blobs/{LAYER}") == 202
    assert (await spoken(ways.shortcut, blob)).startswith(b"HTTP/1.1 404")


async def test_a_password_that_was_changed_ends_what_is_remembered(ways: Ways) -> None:
    request = ways.request("HEAD", "/v2/a/b/manifests/latest", "basic")
    for _ in range(2):
        assert (await spoken(ways.shortcut, request)).startswith(b"HTTP/1.1 200")
    await ways.live.accounts.set_password("admin", "another one, longer")
    assert (await spoken(ways.shortcut, request)).startswith(b"HTTP/1.1 401")


async def test_who_does_not_read_the_answers_does_not_fill_the_memory(ways: Ways) -> None:
    request = ways.request("GET", "/v2/a/b/manifests/latest", "admin")
    await spoken(ways.shortcut, request)
    async with asyncio.timeout(60), connected(ways.shortcut) as (send, client, transport):
        sending = asyncio.ensure_future(_many(send, request, 3000))
        got = most = 0
        while got < 3000:
            most = max(most, transport.get_write_buffer_size())
            if not transport.is_reading() or sending.done():
                got += (await asyncio.get_running_loop().sock_recv(client, 1 << 20)).count(b"HTTP/1.1 200")
            await asyncio.sleep(0)
        await sending
    assert most < 256 << 10


async def _many(send: Send, request: bytes, count: int) -> None:
    for _ in range(count):
        await send(request)


async def test_an_idle_connection_is_closed_when_its_time_after_the_last_answer_is_over(ways: Ways) -> None:
    server = ways.live.runner.server
    assert server is not None
    made: list[RequestHandler] = []

    def impatient() -> RequestHandler:
        made.append(RequestHandler(server, loop=asyncio.get_running_loop(), keepalive_timeout=0.2))
        return made[0]

    request = ways.request("GET", "/v2/a/b/manifests/latest", "admin")
    await spoken(ways.shortcut, request)
    shortcut = ways.shortcut()
    assert isinstance(shortcut, Shortcut)
    shortcut._handler = impatient()
    async with asyncio.timeout(60), connected(lambda: shortcut) as (send, client, _):
        first = made[0]._next_keepalive_close_time
        await send(request)
        assert made[0]._next_keepalive_close_time > first
        loop = asyncio.get_running_loop()
        assert (await loop.sock_recv(client, 65536)).startswith(b"HTTP/1.1 200")
        assert await loop.sock_recv(client, 65536) == b""


METHODS = st.sampled_from(["GET", "GET", "HEAD", "PUT", "POST", "get", "GET ", ""])
TARGETS = st.sampled_from(
    [
        "/v2/a/b/manifests/latest",
        f"/v2/a/b/blobs/{LAYER}",
        "/v2/a/b/tags/list",
        "/v2/a/b/manifests/latest?x",
        "/v2/a/b/manifests/l%61test",
        "http://x/v2/a/b/manifests/latest",
        "/v2/a/b/manifests/latest#",
        "*",
    ]
)
FIELDS = st.lists(
    st.sampled_from(
        [
            "Accept: */*",
            "Accept:",
            "Host: y",
            "X: y",
            " folded",
            "Range: bytes=0-1",
            f'If-None-Match: "{DIGEST}"',
            "Connection: keep-alive",
            "Connection: close",
            "Content-Length: 0",
            "Content-Length: 3",
            "Content-Length: +3",
            "Expect: 100-continue",
            "Authorization: Bearer x",
            "User-Agent: \x01",
            "User-Agent: \xe9",
            "no colon",
            "Name : space",
        ]
    ),
    max_size=2,
)
CREDENTIALS = st.sampled_from(["admin", "admin", "scoped", ""])
CHUNKED = b"3\r\nabc\r\n0\r\n\r\n"
BODIES = st.sampled_from([b"", b"", b"", b"xyz", CHUNKED, b"\r\n", b"GET / HTTP/1.1\r\n\r\n"])
REQUESTS = st.lists(st.tuples(METHODS, TARGETS, FIELDS, CREDENTIALS, BODIES), min_size=1, max_size=4)
CUTS = st.lists(st.integers(0, 400), max_size=4)


async def test_odd_requests_in_odd_pieces_get_the_same_answers(ways: Ways) -> None:
    """What is sent is cut at the ends of its requests, and at some other places."""
    for path in ("/v2/a/b/manifests/latest", f"/v2/a/b/blobs/{LAYER}"):
        for credentials in ("admin", "scoped"):
            await spoken(ways.aiohttp, ways.request("GET", path, credentials))
    loop = asyncio.get_running_loop()

    @settings(max_examples=400, deadline=None, report_multiple_bugs=False)
    @given(REQUESTS, CUTS)
    def same(requests: list[tuple[str, str, list[str], str, bytes]], cuts: list[int]) -> None:
        pieces: list[bytes] = []
        for method, path, fields, credentials, body in requests:
            if body == CHUNKED:  # with any other body aiohttp waits for ten seconds before it closes
                fields = [*fields, "Transfer-Encoding: chunked"]
            whole = ways.request(method, path, credentials, *fields) + body
            places = sorted({min(cut, len(whole)) for cut in cuts})
            pieces += [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True) if a < b]
        ours = asyncio.run_coroutine_threadsafe(spoken(ways.shortcut, *pieces), loop).result(60)
        theirs = asyncio.run_coroutine_threadsafe(spoken(ways.aiohttp, *pieces), loop).result(60)
        if any("Content-Length: 3" in fields and len(body) != 3 for _, _, fields, _, body in requests):
            ours, theirs = (before_the_nonsense(answers) for answers in (ours, theirs))
        assert ours == theirs, pieces

    await asyncio.to_thread(same)
