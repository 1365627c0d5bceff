"""Multipart uploads that another process can continue, list and end. Source: Amazon S3 API Reference.

obstore makes multipart uploads too, but keeps their ids to itself: after a restart they could be neither continued nor
removed. So these five requests are made here, and those that write whole objects out of a file: obstore would have
copies of them in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aiohttp import AddrInfoType, ClientError, ClientSession, ClientTimeout, ConnectionTimeoutError, TCPConnector
from yarl import URL

from lumper.errors import StorageError
from lumper.registry.storage.s3.bucket import Bucket
from lumper.registry.storage.s3.refusal import code_in, refusal, unreachable
from lumper.registry.storage.s3.signature import query_string, signed

_PIECE = 64 << 10  # bytes read and given to the socket at a time; it copies what it cannot send at once
_PAUSES = (0.2, 1.0, 3.0)  # seconds before each further try
_PASSING = {429, 500, 502, 503, 504}
_PASSING_CODES = {"InternalError", "SlowDown"}
_TIMEOUT = ClientTimeout(total=None, sock_connect=10)  # the rest is timed here
_CLOSING = 1.0  # second
_JOINING = 4  # times the silence of other requests; joining many parts may take a minute


class Body(Protocol):
    """What is sent, once more after a failure. Its methods are called in threads; they raise StorageError."""

    def __len__(self) -> int: ...

    def read(self, start: int, size: int) -> bytes:
        """So many bytes from there on, or as many as there are."""

    def sha256(self) -> str:
        """The hash of all bytes, in hex."""


class Multipart:
    """Multipart uploads of one bucket, under one prefix, with path-style addresses."""

    def __init__(self, bucket: Bucket) -> None:
        """Raises OSError for a bucket whose ca_file cannot be used."""
        self._bucket = bucket
        self._endpoint = URL(bucket.endpoint)
        self._prefix = f"{bucket.prefix}/" if bucket.prefix else ""
        self._tls: ssl.SSLContext | bool = True
        if bucket.ca_file is not None:
            self._tls = ssl.create_default_context()
            self._tls.load_verify_locations(bucket.ca_file)
        self._session: ClientSession | None = None
        self._closed = False

    async def create(self, key: str) -> str:
        """Begin one; its id."""
        _, answer = await self._send("POST", key, {"uploads": ""})
        found = _parsed(answer).findtext("{*}UploadId")
        if not found:
            raise StorageError("The S3 service began a multipart upload without an id.")
        return found

    async def put(self, key: str, body: Body) -> None:
        """Write an object whole."""
        await self._send("PUT", key, {}, body)

    async def put_part(self, key: str, upload: str, number: int, body: Body) -> str:
        """Write a part, counted from 1; its ETag. Raises Missing if the upload has ended."""
        headers, _ = await self._send("PUT", key, {"partNumber": str(number), "uploadId": upload}, body)
        return headers.get("ETag", "")

    async def complete(self, key: str, upload: str, etags: Sequence[str]) -> None:
        """Make the object of the parts. Raises Missing if the upload has ended."""
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        _, answer = await self._send("POST", key, {"uploadId": upload}, body, patience=_JOINING)
        code = code_in(answer)
        if code:  # the status was sent before it was known how it ends
            raise refusal(code)

    async def abort(self, key: str, upload: str) -> None:
        """Drop one and its parts. Raises Missing if it has ended."""
        await self._send("DELETE", key, {"uploadId": upload})

    async def unfinished(self, under: str) -> AsyncIterator[tuple[str, str, datetime]]:
        """Key, id and time of the beginning of all whose key begins with `under`."""
        query = {"uploads": "", "prefix": self._prefix + under}
        while True:
            _, answer = await self._send("GET", None, query)
            page = _parsed(answer)
            for entry in page.iterfind("{*}Upload"):
                key, upload = entry.findtext("{*}Key", ""), entry.findtext("{*}UploadId", "")
                yield key.removeprefix(self._prefix), upload, _time(entry.findtext("{*}Initiated", ""))
            if page.findtext("{*}IsTruncated") != "true":
                return
            marker = page.findtext("{*}NextKeyMarker", ""), page.findtext("{*}NextUploadIdMarker", "")
            if marker == (query.get("key-marker", ""), query.get("upload-id-marker", "")):
                raise unreachable()  # or it would be asked for the same page for ever
            query["key-marker"], query["upload-id-marker"] = marker

    async def close(self) -> None:
        """End the connections; nothing is asked any more. Idempotent."""
        session, self._session, self._closed = self._session, None, True
        if session is not None:
            with contextlib.suppress(TimeoutError):  # of one with unsent bytes, when the service takes none
                async with asyncio.timeout(_CLOSING):
                    await session.close()

    async def _send(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str],
        body: Body | bytes = b"",
        patience: int = 1,
    ) -> tuple[Mapping[str, str], bytes]:
        """Make a request, again after what passes: every one of these may be repeated.

        Who is silent for `patience` times as long as usual is not asked again. Who takes no connection in time is once:
        it may be this machine that stood still meanwhile.
        """
        silence = patience * self._bucket.silence
        path = f"/{self._bucket.name}" + ("" if key is None else "/" + quote(self._prefix + key))
        digest = hashlib.sha256(body).hexdigest() if isinstance(body, bytes) else await asyncio.to_thread(body.sha256)
        for tried, pause in enumerate((*_PAUSES, None)):
            if self._closed:
                raise unreachable()
            try:
                status, headers, answer = await self._try(method, path, query_string(query), body, digest, silence)
            except (ClientError, OSError) as exc:
                unconnected = isinstance(exc, ConnectionTimeoutError) and not tried
                if pause is None or (isinstance(exc, TimeoutError) and not unconnected):
                    raise unreachable() from exc
            else:
                code = code_in(answer)
                if status < HTTPStatus.MULTIPLE_CHOICES and code not in _PASSING_CODES:
                    return headers, answer
                if pause is None or not (status in _PASSING or code in _PASSING_CODES):
                    raise refusal(code, status)
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _try(
        self, method: str, path: str, query: str, body: Body | bytes, digest: str, silence: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        host = self._endpoint.raw_authority
        headers = signed(self._bucket.credentials, method, host, path, query, digest, datetime.now(UTC))
        headers["content-length"] = str(len(body))
        url = URL(f"{self._endpoint.scheme}://{host}{path}{'?' if query else ''}{query}", encoded=True)
        if self._session is None:
            connector = TCPConnector(socket_factory=partial(_socket, silence=self._bucket.silence))
            self._session = ClientSession(connector=connector, timeout=_TIMEOUT, auto_decompress=False)
        async with asyncio.timeout(silence) as limit:
            data = body if isinstance(body, bytes) else _pieces(body, limit, silence)
            async with self._session.request(
                method, url, headers=headers, data=data or None, ssl=self._tls, allow_redirects=False
            ) as response:
                return response.status, response.headers, await response.read()


def _socket(address: AddrInfoType, silence: float) -> socket.socket:
    """A socket that the kernel gives up if nobody takes what it sends: to be closed it would wait for that for ever."""
    made = socket.socket(*address[:3])
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # of Linux only
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(silence * 1000))
    return made


async def _pieces(body: Body, limit: asyncio.Timeout, silence: float) -> AsyncIterator[bytes]:
    """The pieces of a body; whenever one was taken, there are `silence` seconds more."""
    loop = asyncio.get_running_loop()
    for start in range(0, len(body), _PIECE):
        with contextlib.suppress(RuntimeError):  # the answer was there before all was taken
            limit.reschedule(loop.time() + silence)
        yield await asyncio.to_thread(body.read, start, _PIECE)


def _parsed(answer: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(answer)  # noqa: S314 - from the service that was configured; expat limits entities
    except ElementTree.ParseError as exc:
        raise unreachable() from exc


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as exc:
        raise unreachable() from exc
