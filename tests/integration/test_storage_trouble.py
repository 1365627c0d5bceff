"""What a client hears, and the log says, while the storage fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from lumper.errors import StorageError
from lumper.model.image import Name
from lumper.model.people import Role
from lumper.registry.storage.memory import MemoryStorage
from lumper.registry.storage.s3 import S3Storage
from parts.live_registry import RegistryClient, digest_of, live_registry
from parts.s3_service import s3_service

MIB = 1 << 20


class Failing(MemoryStorage):
    """Reads so many chunks, and then no more."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks = 1000

    async def read(self, digest: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        left = self.chunks
        async for chunk in super().read(digest, start, end):
            if not left:
                raise StorageError("The disk is broken.")
            left -= 1
            yield chunk


@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=1-"}])
async def test_a_blob_whose_first_bytes_cannot_be_read_is_answered_with_503(
    tmp_path: Path, asked: dict[str, str]
) -> None:
    storage = Failing()
    async with live_registry(tmp_path, storage=storage) as live, aiohttp.ClientSession() as session:
        client = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        digest = await client.push_blob("a", b"x" * 100)
        storage.chunks = 0

        async with client.request("GET", f"/v2/a/blobs/{digest}", headers=asked) as response:
            assert response.status == 503


async def test_a_blob_that_breaks_off_in_the_middle_is_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Failing()
    async with live_registry(tmp_path, storage=storage) as live, aiohttp.ClientSession() as session:
        client = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        digest = await client.push_blob("a", b"x" * (3 * MIB))
        storage.chunks = 1
        with caplog.at_level(logging.INFO), pytest.raises(aiohttp.ClientError):
            async with client.request("GET", f"/v2/a/blobs/{digest}") as response:
                assert response.status == 200
                await response.read()
        storage.chunks = 1000
        async with client.request("GET", f"/v2/a/blobs/{digest}") as response:
            assert digest_of(await response.read()) == digest
    assert "a blob was not sent to its end" in caplog.text
    assert "The disk is broken" in str([vars(record) for record in caplog.records])
    assert "Traceback" not in caplog.text


@asynccontextmanager
async def portal(endpoint: str, on: asyncio.Event) -> AsyncIterator[str]:
    """In front of an S3 service stands something that answers everything with a page of its own, while it is on."""

    async def handle(request: web.Request) -> web.Response:
        if on.is_set():
            return web.Response(text="<html>Please sign in.</html>", content_type="text/html")
        url = f"{endpoint}{request.raw_path}"
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, url, data=await request.read(), headers=request.headers) as answer,
        ):
            headers = {name: value for name, value in answer.headers.items() if name.lower() != "transfer-encoding"}
            if request.method != "HEAD":
                headers.pop("Content-Length", None)
            return web.Response(status=answer.status, body=await answer.read(), headers=headers)

    app = web.Application(client_max_size=64 * MIB)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_what_answers_for_the_bucket_is_not_taken_for_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUMPER_TEST_S3", raising=False)
    on = asyncio.Event()
    with s3_service() as service:
        bucket = service.bucket()
        async with portal(bucket.endpoint, on) as endpoint:
            storage = S3Storage(
                f"s3://{bucket.name}/images", endpoint=endpoint, region="us-east-1", access_key_id="a",
                secret_access_key="b",
            )  # fmt: skip
            await storage.identify("one")
            await storage.put(digest_of(b"x"), b"x")
            await storage.note(Name("a", "tag", digest_of(b"x")))
            on.set()

            for ask in (lambda: storage.stat(digest_of(b"x")), lambda: storage.blobs(), lambda: storage.identity()):
                with pytest.raises(StorageError):
                    await ask()

            on.clear()
            assert await storage.stat(digest_of(b"x")) is not None
            await storage.close()
