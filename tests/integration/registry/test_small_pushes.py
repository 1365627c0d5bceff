"""Small pushes past aiohttp: the same answers as from aiohttp, the same rights, limits and quotas, and as durable."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumper.model.images.activity import SERVER
from lumper.model.images.rules import Rule
from lumper.registry.access import Anonymous
from lumper.web.auth.rate_limits import RateLimits
from lumper.web.connection.shortcut import Shortcuts
from parts.registries.live_registry import digest_of
from parts.registries.two_ways import Protocols, Ways, before_the_nonsense, connected, spoken, two_ways

BLOB = b"a small blob"
OTHER = "0" * 32 + "-" + "0" * 16
WRONG = digest_of(b"something else")
LARGEST = 64 << 10


@pytest.fixture
async def ways(tmp_path: Path) -> AsyncIterator[Ways]:
    async with two_ways(tmp_path) as made:
        yield made


def nameless(answers: bytes) -> bytes:
    """The answers without the names of uploads, which are never the same."""
    return re.sub(rb"[0-9a-f]{32}-[0-9a-f]{16}", b"<upload>", answers)


async def began(way: Protocols, ways: Ways, repository: str = "a/b", credentials: str = "admin") -> str:
    """The path of an upload that has begun this way."""
    answer = await spoken(way, ways.request("POST", f"/v2/{repository}/blobs/uploads/", credentials))
    found = re.search(rb"Location: (\S+)", answer)
    assert found, answer
    return found[1].decode()


REQUESTS = [
    ("POST", "/v2/a/b/blobs/uploads/", b""),
    ("POST", "/v2/a/b/blobs/uploads/", BLOB),
    ("POST", "/v2/a/b/blobs/uploads", b""),
    ("POST", f"/v2/a/b/blobs/uploads/?digest={digest_of(BLOB)}", BLOB),
    ("POST", f"/v2/a/b/blobs/uploads/?digest={digest_of(BLOB).replace(':', '%3A')}", BLOB),
    ("POST", f"/v2/a/b/blobs/uploads/?digest={digest_of(BLOB)}", b""),
    ("POST", f"/v2/a/b/blobs/uploads/?digest={digest_of(b'')}", b""),
    ("POST", f"/v2/a/b/blobs/uploads/?digest={WRONG}", BLOB),
    ("POST", "/v2/a/b/blobs/uploads/?digest=sha256:x", BLOB),
    ("POST", "/v2/a/b/blobs/uploads/?digest=sha256:ab", BLOB),
    ("POST", f"/v2/a/b/blobs/uploads/?mount={digest_of(b'layer')}&from=a/b", b""),
    ("POST", "/v2/A/blobs/uploads/", b""),
    ("POST", "/v2//blobs/uploads/", b""),
    ("POST", "/v2/a/../b/blobs/uploads/", b""),
    ("POST", "/v2/c/blobs/uploads/blobs/uploads/", b""),
    ("PUT", "/v2/a/b/blobs/uploads/", b""),
    ("PUT", f"/v2/a/b/blobs/uploads/{OTHER}?digest={digest_of(BLOB)}", BLOB),
    ("PUT", f"/v2/a/b/blobs/uploads/0-0?digest={digest_of(BLOB)}", BLOB),
    ("PUT", f"/v2/a/b/blobs/uploads/{OTHER}", BLOB),
    ("POST", f"/v2/a/b/blobs/uploads/{OTHER}?digest={digest_of(BLOB)}", BLOB),
]


@pytest.mark.parametrize(
    ("credentials", "anonymous"),
    [*((who, "none") for who in ("basic", "admin", "mailer", "scoped", "")), ("", "pull"), ("", "push")],
)
async def test_both_ways_give_the_same_answers(tmp_path: Path, credentials: str, anonymous: Anonymous) -> None:
    async with two_ways(tmp_path, anonymous) as ways:
        for method, path, body in REQUESTS:
            for fields in ([], ["Content-Type: application/octet-stream"], ["Content-Length: 0"]):
                if body and "Content-Length: 0" in fields:
                    continue
                request = ways.request(method, path, credentials, *fields, body=body)
                wanted = nameless(await spoken(ways.aiohttp, request))
                assert nameless(await spoken(ways.shortcut, request)) == wanted, request


@pytest.mark.parametrize("digest", [digest_of(BLOB), WRONG, "sha256:x", ""])
@pytest.mark.parametrize(
    "fields", [(), ("Content-Range: 0-11",), ("Content-Range: 5-16",), ("Content-Encoding: gzip",)]
)
async def test_the_end_of_an_upload_is_the_same_on_both_ways(ways: Ways, digest: str, fields: tuple[str, ...]) -> None:
    answers = []
    for way in (ways.aiohttp, ways.shortcut):
        path = await began(way, ways)
        query = f"?digest={digest}" if digest else ""
        request = ways.request("PUT", path + query, "admin", *fields, body=BLOB)
        answers.append([nameless(await spoken(way, request)) for _ in range(2)])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("credentials", ["basic", "admin"])
async def test_a_push_of_a_small_blob_does_not_go_through_aiohttp(ways: Ways, credentials: str) -> None:
    await began(ways.aiohttp, ways, credentials=credentials)  # from now on who asks is remembered
    for number, data in enumerate((BLOB, b"x" * LARGEST)):
        before = ways.answered_by_aiohttp
        path = await began(ways.shortcut, ways, credentials=credentials)
        put = ways.request("PUT", f"{path}?digest={digest_of(data)}", credentials, body=data)
        assert (await spoken(ways.shortcut, put)).startswith(b"HTTP/1.1 201")
        at_once = data[:-1] + str(number).encode()
        target = f"/v2/a/b/blobs/uploads/?digest={digest_of(at_once)}"
        post = ways.request("POST", target, credentials, body=at_once)
        assert (await spoken(ways.shortcut, post)).startswith(b"HTTP/1.1 201")
        assert ways.answered_by_aiohttp == before + 3, "aiohttp has answered more than the last requests"
        for content in (data, at_once):
            async with ways.admin.request("GET", f"/v2/a/b/blobs/{digest_of(content)}") as answer:
                assert await answer.read() == content


async def test_an_upload_that_has_bytes_already_ends_past_aiohttp(ways: Ways) -> None:
    path = await began(ways.shortcut, ways)
    patch = ways.request("PATCH", path, "admin", body=BLOB)
    assert (await spoken(ways.shortcut, patch)).startswith(b"HTTP/1.1 202")
    before = ways.answered_by_aiohttp
    put = ways.request("PUT", f"{path}?digest={digest_of(BLOB + b'!')}", "admin", body=b"!")
    assert (await spoken(ways.shortcut, put)).startswith(b"HTTP/1.1 201")
    assert ways.answered_by_aiohttp == before + 1
    assert await ways.admin.status("HEAD", f"/v2/a/b/blobs/{digest_of(BLOB + b'!')}") == 200


async def test_a_larger_body_goes_through_aiohttp(ways: Ways) -> None:
    data = b"x" * (LARGEST + 1)
    path = await began(ways.shortcut, ways)
    before = ways.answered_by_aiohttp
    put = ways.request("PUT", f"{path}?digest={digest_of(data)}", "admin", body=data)
    assert (await spoken(ways.shortcut, put)).startswith(b"HTTP/1.1 201")
    assert ways.answered_by_aiohttp == before + 2


async def test_nobody_ends_the_upload_of_somebody_else(ways: Ways) -> None:
    path = await began(ways.shortcut, ways)
    await began(ways.aiohttp, ways, credentials="operator")  # from now on this one is remembered
    for request in (
        ways.request("PUT", f"{path}?digest={digest_of(BLOB)}", "operator", body=BLOB),
        ways.request("PUT", f"{path.replace('a/b', 'c')}?digest={digest_of(BLOB)}", "admin", body=BLOB),
    ):
        assert (await spoken(ways.shortcut, request)).startswith(b"HTTP/1.1 404")
    assert await ways.admin.status("HEAD", f"/v2/a/b/blobs/{digest_of(BLOB)}") == 404


async def test_quotas_hold(ways: Ways) -> None:
    await ways.live.registry.metadata.set_rule(Rule("a/*", quota=5000), SERVER)
    data = b"x" * 6000
    answers = []
    for way in (ways.aiohttp, ways.shortcut):
        path = await began(way, ways)
        for method, target in (("PUT", path), ("POST", "/v2/a/b/blobs/uploads/")):
            request = ways.request(method, f"{target}?digest={digest_of(data)}", "admin", body=data)
            answers.append(nameless(await spoken(way, request)))
    assert answers[0].startswith(b"HTTP/1.1 403")
    assert answers[:2] == answers[2:]


async def test_limits_hold_on_both_ways_together(tmp_path: Path) -> None:
    async with two_ways(tmp_path, limits=RateLimits(account=0.5, clock=lambda: 0.0)) as ways:
        request = ways.request("POST", "/v2/a/b/blobs/uploads/", "operator")
        answers = [await spoken(way, request) for way in (ways.aiohttp, ways.shortcut) * 4]
    assert [answer[9:12] for answer in answers] == [b"202"] * 5 + [b"429"] * 3


async def test_a_failing_storage_is_told_alike(ways: Ways) -> None:
    path = ways.live.data / "registry" / "blobs"
    answers = []
    uploads = [await began(way, ways) for way in (ways.aiohttp, ways.shortcut)]
    path.rename(path.with_name("away"))
    path.write_bytes(b"")  # no folder
    for way, upload in zip((ways.aiohttp, ways.shortcut), uploads, strict=True):
        answers.append(await spoken(way, ways.request("PUT", f"{upload}?digest={digest_of(BLOB)}", "admin", body=BLOB)))
    assert answers[0].startswith(b"HTTP/1.1 503")
    assert answers[0] == answers[1]


async def test_requests_that_come_while_an_answer_is_made_are_answered_after_it(ways: Ways) -> None:
    known = ways.request("HEAD", f"/v2/a/b/blobs/{digest_of(b'layer')}", "admin")
    await spoken(ways.aiohttp, known)
    target = f"/v2/a/b/blobs/uploads/?digest={digest_of(BLOB)}"
    pushes = ways.request("POST", target, "admin", body=BLOB)
    answers = await spoken(ways.shortcut, pushes, known + known, known, pushes, known)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"201", b"200", b"200", b"200", b"201", b"200", b"401"]


async def test_a_server_that_ends_finishes_what_it_stores_first(ways: Ways) -> None:
    server = ways.live.runner.server
    assert server is not None
    made = ways.shortcut
    assert isinstance(made, Shortcuts)
    path = await began(made, ways)
    put = ways.request("PUT", f"{path}?digest={digest_of(BLOB)}", "admin", body=BLOB)
    async with asyncio.timeout(60), connected(made) as (send, client, _):
        await send(put)
        await made.close(60)
        await server.shutdown(1)
        assert (await asyncio.get_running_loop().sock_recv(client, 65536)).startswith(b"HTTP/1.1 201")
        assert await asyncio.get_running_loop().sock_recv(client, 65536) == b""


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing(ways: Ways) -> None:
    path = await began(ways.shortcut, ways)
    put = ways.request("PUT", f"{path}?digest={digest_of(BLOB)}", "admin", body=BLOB)
    async with connected(ways.shortcut) as (send, _, _):
        await send(put[:-1])
    assert await ways.admin.status("HEAD", f"/v2/a/b/blobs/{digest_of(BLOB)}") == 404
    assert (await spoken(ways.shortcut, put)).startswith(b"HTTP/1.1 201")


CUTS = st.lists(st.integers(1, 700), max_size=6)
SIZES = st.sampled_from([0, 1, 300, 5000, LARGEST])
EXTRA = st.sampled_from([b"", b"", b"\r\n", b"x"])


async def test_a_push_in_odd_pieces_gets_the_same_answer(ways: Ways) -> None:
    loop = asyncio.get_running_loop()

    def said(way: Protocols, cuts: list[int], size: int, extra: bytes) -> bytes:
        async def talk() -> bytes:
            data = b"x" * size
            path = await began(way, ways)
            whole = ways.request("PUT", f"{path}?digest={digest_of(data)}", "admin", body=data) + extra
            places = sorted({min(cut, len(whole)) for cut in cuts})
            pieces = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True) if a < b]
            answers = nameless(await spoken(way, *pieces))
            return before_the_nonsense(answers) if extra == b"x" else answers

        return asyncio.run_coroutine_threadsafe(talk(), loop).result(60)

    @settings(max_examples=40, deadline=None)
    @given(CUTS, SIZES, EXTRA)
    def same(cuts: list[int], size: int, extra: bytes) -> None:
        assert said(ways.shortcut, cuts, size, extra) == said(ways.aiohttp, cuts, size, extra)

    await asyncio.to_thread(same)
