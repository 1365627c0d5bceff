"""What a client hears, and the log says, while the storage fails."""

from __future__ import annotations

import asyncio
import io
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from lumper.errors import StorageError, StorageFull
from lumper.model.images.image import Name
from lumper.model.people.people import Role
from lumper.registry.port import StoredBlob
from lumper.registry.storage.memory import MemoryStorage
from lumper.registry.storage.s3 import S3Storage, multipart
from lumper.registry.storage.s3.bucket import SILENCE
from lumper.registry.verify import Defect
from parts.registries.live_registry import RegistryClient, digest_of, live_registry
from parts.s3.s3_service import Bucket, S3Service, s3_service
from parts.servers.http_server import serving

MIB = 1 << 20


class Failing(MemoryStorage):
    """Reads so many chunks, and then no more. `away`: nor does it do anything else but remember what was there."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks = 1000
        self.away = False

    async def identity(self) -> str:
        if self.away:
            raise StorageError
        return await super().identity()

    async def set_aside(self, digest: str) -> str:
        if self.away:
            raise StorageError
        return await super().set_aside(digest)

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
            told = response.status, response.reason, response.headers["Retry-After"]
            assert told == (503, "The registry cannot reach its storage.", "5")


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


@pytest.mark.parametrize("away", [False, True])
async def test_verifying_does_not_take_a_storage_that_goes_away_for_damaged_blobs(tmp_path: Path, away: bool) -> None:
    storage, found = Failing(), list[object]()
    async with live_registry(tmp_path, storage=storage) as live, aiohttp.ClientSession() as session:
        client = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        await client.push_blob("a", b"x" * 100)
        storage.chunks, storage.away = 0, away
        with pytest.raises(StorageError) if away else nullcontext():
            async for one in live.registry.verifier.run():
                found.append(one)

    assert [one.name for one in found if isinstance(one, Defect)] == []


Fault = Callable[[web.Request], Awaitable[web.Response | None]]


async def page(_request: web.Request) -> web.Response:
    """A page of somebody who lets nobody through."""
    return web.Response(text="<html>Please sign in.</html>", content_type="text/html")


async def silence(_request: web.Request) -> None:
    """Nothing is read and nothing said."""
    await asyncio.Event().wait()


async def silence_for_parts(request: web.Request) -> None:
    """The same, but only for parts of large uploads."""
    if "partNumber" in request.query:
        await silence(request)


@pytest.fixture(scope="module")
def service() -> Iterator[S3Service]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LUMPER_TEST_S3", raising=False)  # what stands in front of it signs nothing anew
        with s3_service() as running:
            yield running


async def passed_on(endpoint: str, request: web.Request) -> web.Response:
    """What the service answers."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(
            request.method,
            f"{endpoint}{request.raw_path}",
            data=io.BytesIO(await request.read()),
            headers=request.headers,
        ) as answer,
    ):
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "transfer-encoding"}
        if request.method != "HEAD":
            headers.pop("Content-Length", None)
        return web.Response(status=answer.status, body=await answer.read(), headers=headers)


@asynccontextmanager
async def portal(endpoint: str, faults: list[Fault]) -> AsyncIterator[str]:
    """What stands in front of an S3 service, and passes on what none of the faults answers."""

    async def handle(request: web.Request) -> web.Response:
        for fault in faults:
            if (answered := await fault(request)) is not None:
                return answered
        return await passed_on(endpoint, request)

    async with serving(handle) as url:
        yield url


@asynccontextmanager
async def opened(bucket: Bucket, faults: list[Fault], silence: float = SILENCE) -> AsyncIterator[S3Storage]:
    """A storage over the bucket with these faults on the way to it."""
    async with portal(bucket.endpoint, faults) as endpoint:
        storage = replace(bucket, endpoint=endpoint).open(silence=silence)
        try:
            yield storage
        finally:
            await storage.close()


async def test_what_answers_for_the_bucket_is_not_taken_for_an_empty_one(service: S3Service) -> None:
    faults: list[Fault] = []
    async with opened(service.bucket(), faults) as storage:
        await storage.identify("one")
        await storage.put(digest_of(b"x"), b"x")
        await storage.note(Name("a", "tag", digest_of(b"x")))
        faults.append(page)

        for ask in (lambda: storage.stat(digest_of(b"x")), lambda: storage.blobs(), lambda: storage.identity()):
            with pytest.raises(StorageError):
                await ask()

        faults.clear()
        assert await storage.stat(digest_of(b"x")) is not None


async def pushed(storage: S3Storage, layer: bytes) -> StoredBlob | None:
    """Push a layer in one go."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(layer), MIB):
            yield layer[start : start + MIB]

    upload = secrets.token_hex(8)
    await storage.begin(upload)
    await storage.append(upload, 0, pieces())
    return await storage.commit(upload, digest_of(layer))


async def test_a_service_that_falls_silent_is_waited_for_no_longer_than_is_told(
    service: S3Service,
) -> None:
    faults: list[Fault] = []
    small, layer = digest_of(b"x"), bytes(range(256)) * (50 << 10)  # 12.5 MiB: a part and more
    bucket = service.bucket()
    async with (
        opened(bucket, faults) as storage,
        opened(bucket, faults, 0.2) as impatient,
        asyncio.timeout(2 * SILENCE),
    ):
        await storage.put(small, b"x")
        for fault, asks in (
            (silence, (impatient.identity, partial(impatient.put, small, b"x"), partial(impatient.stat, small))),
            (silence_for_parts, (partial(pushed, impatient, layer),)),
        ):
            faults.append(fault)
            for ask in asks:
                with pytest.raises(StorageError, match="does not answer"):
                    await ask()
            faults.clear()

        assert await pushed(storage, layer) == StoredBlob(digest_of(layer), len(layer))


async def test_a_storage_that_is_closed_while_the_service_takes_nothing_is_closed_at_once(
    service: S3Service,
) -> None:
    asked = asyncio.Event()

    async def told(request: web.Request) -> None:
        if "partNumber" in request.query:
            asked.set()
            await silence(request)

    async with opened(service.bucket(), [told]) as storage:
        pushing = asyncio.create_task(pushed(storage, bytes(12 * MIB)))
        await asked.wait()
        async with asyncio.timeout(SILENCE / 2):  # it waits for the service for longer
            await storage.close()
            with pytest.raises(StorageError):
                await pushing


def refusing(method: str, field: str, status: int, code: str, times: int = 1 << 30) -> Fault:
    """So many requests with this method, and with `field` in the query, are refused."""
    left = [times]

    async def fault(request: web.Request) -> web.Response | None:
        if request.method != method or field not in request.query_string or not left[0]:
            return None
        left[0] -= 1
        await request.read()
        return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>", content_type="application/xml")

    return fault


@pytest.mark.parametrize(
    ("status", "code", "kind", "advice"),
    [
        (403, "AccessDenied", StorageError, "Allow this key"),
        (403, "QuotaExceeded", StorageFull, "more space"),
        (507, "XMinioStorageFull", StorageFull, "more space"),
        (301, "PermanentRedirect", StorageError, "region"),
        (400, "EntityTooLarge", StorageError, ""),
    ],
)
async def test_what_s3_refuses_is_told_with_what_to_do(
    service: S3Service, status: int, code: str, kind: type[StorageError], advice: str
) -> None:
    async with opened(service.bucket(), [refusing("PUT", "", status, code)]) as storage:
        for asked in (storage.put(digest_of(b"x"), b"x"), storage.begin("u")):
            with pytest.raises(StorageError) as refused:
                await asked
            assert type(refused.value) is kind
            assert kind is StorageFull or code in refused.value.message
            assert advice in refused.value.hint


async def test_a_refusal_without_words_is_told_with_what_to_do(service: S3Service) -> None:
    async with opened(service.bucket(), [refusing("HEAD", "", 403, "which nobody sees")]) as storage:
        with pytest.raises(StorageError, match="AccessDenied") as refused:
            await storage._objects.size("x")
    assert "Allow this key" in refused.value.hint


async def test_what_passes_is_tried_again_and_what_does_not_is_not(
    service: S3Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "_PAUSES", (0.0, 0.0))
    layer, bucket = bytes(12 * MIB), service.bucket()
    done = list[web.Response]()

    async def lost(request: web.Request) -> web.Response | None:
        if request.method != "POST" or "uploadId" not in request.query or done:
            return None
        done.append(await passed_on(bucket.endpoint, request))
        return web.Response(status=504)

    passing = [
        refusing("POST", "uploads", 500, "InternalError", 1),
        refusing("PUT", "partNumber=1", 503, "SlowDown", 1),
        refusing("POST", "uploadId", 200, "InternalError", 1),
        lost,
        refusing("POST", "uploadId", 404, "NoSuchUpload", 1),  # as most say of one that has ended
    ]
    async with opened(bucket, passing) as storage:
        assert await pushed(storage, layer) == StoredBlob(digest_of(layer), len(layer))
        assert b"".join([chunk async for chunk in storage.read(digest_of(layer))]) == layer

    other = bytes(13 * MIB)
    async with opened(bucket, [refusing("POST", "uploadId", 200, "InvalidPart", 1)]) as storage:
        with pytest.raises(StorageError, match="InvalidPart"):
            await pushed(storage, other)
        assert await storage.stat(digest_of(other)) is None


async def test_what_does_not_pass_is_given_up(service: S3Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "_PAUSES", (0.0, 0.0))
    bucket = service.bucket()
    for times, comes in ((2, True), (3, False)):
        async with opened(bucket, [refusing("POST", "uploads", 503, "SlowDown", times)]) as storage:
            if comes:
                await storage._multipart.create("data/u")
                continue
            with pytest.raises(StorageError, match="SlowDown"):
                await storage._multipart.create("data/u")
            await storage._multipart.create("data/u")
    assert bucket.unfinished() == 2
