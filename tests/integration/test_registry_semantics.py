"""What HTTP itself says of any resource holds for the registry's. Source: RFC 9110, RFC 9112."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lumper.model.people import Role
from parts.live_registry import LiveRegistry, RegistryClient, digest_of, live_registry
from parts.raw_http import head, sent

BLOB = b"0123456789"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveRegistry]:
    async with live_registry(tmp_path) as running:
        yield running


@pytest.fixture
async def admin(live: LiveRegistry) -> AsyncIterator[RegistryClient]:
    async with aiohttp.ClientSession() as session:
        yield RegistryClient(session, live.url, live.tokens[Role.ADMIN])


@pytest.mark.parametrize("asked", ["bytes=2-4", "bytes=0-1,5-6", "bytes=99-", "bytes=x"])
async def test_a_head_has_no_range(admin: RegistryClient, asked: str) -> None:
    path = f"/v2/app/blobs/{await admin.push_blob('app', BLOB)}"

    async with admin.request("HEAD", path, headers={"Range": asked}) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(BLOB)))
        assert "Content-Range" not in response.headers


@pytest.mark.parametrize("digest", ["md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:abc", "", "sha384:" + "a" * 96])
async def test_an_upload_for_a_digest_that_is_none_does_not_begin(admin: RegistryClient, digest: str) -> None:
    for data in (None, b"x"):
        refused = await admin.refusal("POST", f"/v2/app/blobs/uploads/?digest={digest}", data=data)
        assert refused == (400, "DIGEST_INVALID")


@pytest.mark.parametrize(("version", "statuses"), [(b"1.0", [201]), (b"1.1", [100, 201])])
async def test_what_http_1_0_does_not_know_is_not_told_to_it(
    live: LiveRegistry, version: bytes, statuses: list[int]
) -> None:
    headers = b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 10\r\n"
    path = f"/v2/app/blobs/uploads/?digest={digest_of(BLOB)}"

    got, came = await sent(live, head(live, "POST", path, headers, version=version) + BLOB)

    assert got == statuses, came
