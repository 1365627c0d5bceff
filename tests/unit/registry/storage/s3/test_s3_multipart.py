"""What an S3 service says of multipart uploads, as nobody's service says it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from lumper.errors import StorageError
from lumper.registry.storage.s3 import Bucket, Credentials, multipart
from lumper.registry.storage.s3.multipart import Multipart
from lumper.registry.storage.s3.tail import Tail
from parts.servers.http_server import serving

UPLOAD = (
    "<Upload><Key>in/data/{0}</Key><UploadId>{0}</UploadId><Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload>"
)
MORE = "<IsTruncated>true</IsTruncated>"


def page(*uploads: str, more: str = "") -> str:
    return f"<ListMultipartUploadsResult>{''.join(map(UPLOAD.format, uploads))}{more}</ListMultipartUploadsResult>"


async def unfinished(pages: dict[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """What is listed out of these pages, by the key after which each begins; and which were asked for."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query.get("key-marker", ""))
        assert request.query["prefix"] == "in/data/"
        return web.Response(text=pages[asked[-1]], content_type="application/xml")

    async with serving(answer) as url:
        multipart = Multipart(Bucket(url, "images", "in", Credentials("id", "secret", "eu-1"), silence=5))
        try:
            found = [one async for one in multipart.unfinished("data/")]
        finally:
            await multipart.close()
    assert all(at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) for _, _, at in found)
    return [(key, upload) for key, upload, _ in found], asked


async def test_uploads_are_listed_page_by_page() -> None:
    more = f"{MORE}<NextKeyMarker>in/data/b</NextKeyMarker><NextUploadIdMarker>b</NextUploadIdMarker>"
    found, asked = await unfinished({"": page("a", "b", more=more), "in/data/b": page("c")})

    assert found == [(f"data/{name}", name) for name in "abc"]
    assert asked == ["", "in/data/b"]


@pytest.mark.parametrize(
    "pages",
    [
        {"": page("a", more=MORE)},
        {"": page("a", more=f"{MORE}<NextKeyMarker>a</NextKeyMarker>"),
         "a": page("a", more=f"{MORE}<NextKeyMarker>a</NextKeyMarker>")},
        {"": "no XML at all"},
    ],
    ids=["more, and not where", "the same page again", "nonsense"],
)  # fmt: skip
async def test_a_listing_that_does_not_end_is_an_error(pages: dict[str, str]) -> None:
    with pytest.raises(StorageError):
        await unfinished(pages)


async def test_who_is_silent_is_not_asked_again_and_has_more_time_for_joining() -> None:
    asked: list[str] = []
    silence = 0.1

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.method)
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(answer) as url:
        multipart = Multipart(Bucket(url, "images", "in", Credentials("id", "secret", "eu-1"), silence=silence))
        try:
            with pytest.raises(StorageError, match="does not answer"):
                await multipart.put("data/u", Tail())
            began = time.monotonic()
            with pytest.raises(StorageError, match="does not answer"):
                await multipart.complete("data/u", "u", ["etag"])
            assert time.monotonic() - began > 3 * silence
        finally:
            await multipart.close()
    assert asked == ["PUT", "POST"]


@pytest.mark.parametrize("times", [1, 2])
async def test_a_connection_that_is_late_because_this_machine_stood_still_is_tried_once_more(
    times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, connect, ahead = asyncio.get_running_loop(), multipart._socket, 0.0
    moments = [*[20.0] * times, 0.0]

    def connecting(*address: Any, **options: Any) -> Any:
        nonlocal ahead
        ahead += moments.pop(0)
        return connect(*address, **options)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="<R><UploadId>one</UploadId></R>", content_type="application/xml")

    monkeypatch.setattr(multipart, "_socket", connecting)
    monkeypatch.setattr(loop, "time", lambda: time.monotonic() + ahead)
    async with serving(answer) as url:
        one = Multipart(Bucket(url, "images", "in", Credentials("id", "secret", "eu-1"), silence=600))
        try:
            if times == 1:
                assert await one.create("data/u") == "one"
            else:
                with pytest.raises(StorageError, match="does not answer"):
                    await one.create("data/u")
                assert moments == [0.0]
        finally:
            await one.close()
