"""Requests to one registry: signed in, redirected with care, tried again when that may help.

Credentials go to the registry's own origin only, never along with a redirect; from TLS there is no way back to plain
HTTP. Sizes and times are bounded. Source of the rules: OCI distribution-spec 1.1; RFC 9110, section 15.4.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import Any

import aiohttp
from aiohttp import hdrs
from yarl import URL

from lumper.errors import (
    Invalid,
    LumperError,
    RemoteAway,
    RemoteError,
    RemoteInvalid,
    RemoteLimited,
    RemoteNotFound,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from lumper.registry.remote.address import Guard
from lumper.registry.remote.auth import Authority, Credentials

_HOPS = 6  # requests for one answer: redirects and signing in
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_TEXT = 64 << 10  # bytes of an answer that is only read for its error or token
_FIRST_PAUSE = 0.25
_AGENT = "lumper"

Body = Callable[[], AsyncIterator[bytes]] | bytes | None


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is tried, and how many seconds are waited at most before the next try."""

    attempts: int = 5
    longest: float = 60.0
    connect: float = 10.0
    idle: float = 60.0  # without a byte


def pause_before(attempt: int, error: LumperError, patience: RetryPolicy) -> float | None:
    """Seconds to wait before the attempt after this one, which has failed; None: it is of no use, or of no more."""
    if not error.temporary or attempt >= patience.attempts:
        return None
    if isinstance(error, RemoteAway) and error.retry_after:
        return error.retry_after if error.retry_after <= patience.longest else None
    return min(_FIRST_PAUSE * 2.0**attempt, patience.longest)


class Connection:
    """One registry over HTTP. Methods raise RemoteError."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        auth_host: str = "",
        ca_file: Path | None = None,
        patience: RetryPolicy | None = None,
    ) -> None:
        self.url = URL(url.rstrip("/"))
        self._patience = patience or RetryPolicy()
        self._guard = Guard(self.url)
        self._authority = Authority(self.url, credentials, auth_host, self._ask)
        plain = self.url.scheme == "http" and ca_file is None  # to read all authorities takes longer than a request
        connector = aiohttp.TCPConnector(resolver=self._guard, ssl=plain or _trust(ca_file), limit=100)
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,  # a digest is that of the bytes as they are stored
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={hdrs.USER_AGENT: _AGENT, hdrs.ACCEPT_ENCODING: "identity"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._patience.connect, sock_read=self._patience.idle
            ),
            max_line_size=16 << 10,
            max_field_size=32 << 10,
        )

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: str | URL,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        tries: int = 0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is not an error, as a context. `target` is a path or a URL; `tries` is as patience has it.

        Raises RemoteUnavailable, RemoteLimited, RemoteUnauthorized, RemoteNotFound, RemoteInvalid, RemoteError.
        """
        url = target if isinstance(target, URL) else self.url.join(URL(target))
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await self._answer(method, url, scope, headers or {}, body)
                break
            except RemoteError as exc:
                pause = None if tries and attempt >= tries else pause_before(attempt, exc, self._patience)
                if pause is None:
                    raise
                await asyncio.sleep(pause * (0.75 + random.random() / 2))  # noqa: S311 many must not come back at once
        try:
            with self.translated():
                yield response
        finally:
            response.close()

    async def _answer(
        self, method: str, url: URL, scope: str, headers: Mapping[str, str], body: Body
    ) -> aiohttp.ClientResponse:
        with self.translated():
            signed_in = False
            for _ in range(_HOPS):
                home = url.origin() == self.url.origin()
                sent = self._authority.header(scope) if home else {}
                response = await self._send(method, url, {**headers, **sent}, body)
                if response.status == 401 and home and not signed_in:
                    challenges = response.headers.getall(hdrs.WWW_AUTHENTICATE, [])
                    if signed_in := await self._authority.challenged(challenges, scope, sent):
                        response.close()
                        continue
                if response.status in _REDIRECTS and hdrs.LOCATION in response.headers:
                    url = self.location(response, url)
                    response.close()
                    continue
                if response.status < 300:
                    return response
                try:
                    raise await self._error(response)
                finally:
                    response.close()
        raise RemoteInvalid(f"{self.url.host} leads in a circle.")

    async def _send(self, method: str, url: URL, headers: Mapping[str, str], body: Body) -> aiohttp.ClientResponse:
        self._guard.check_literal(url)
        data = body() if callable(body) else body
        return await self._session.request(method, url, headers=headers, data=data, allow_redirects=False)

    def location(self, response: aiohttp.ClientResponse, asked: URL) -> URL:
        """Where the Location of an answer leads. Raises RemoteInvalid for where nobody follows."""
        try:
            url = asked.join(URL(response.headers[hdrs.LOCATION], encoded=True))
            good = url.scheme in ("http", "https") and bool(url.host) and url.user is None
        except (KeyError, ValueError):
            good = False
        if not good or (self.url.scheme == "https" and url.scheme != "https"):
            raise RemoteInvalid(f"{self.url.host} leads to an address that is not followed.")
        return url

    async def _ask(
        self, method: str, url: URL, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> Mapping[str, object]:
        """Ask a token realm. It is told nothing but what is given here, and leads nowhere else."""
        self._guard.check_literal(url)
        async with self._session.request(method, url, headers=headers, data=form, allow_redirects=False) as response:
            if response.status in _REDIRECTS:
                raise RemoteInvalid(f"The token service {url.host} leads elsewhere, which is not followed.")
            if response.status != 200:
                raise await self._error(response)
            answer = read_json(await read_at_most(response, _MOST_TEXT))
        if not isinstance(answer, dict):
            raise RemoteInvalid(f"The token service {url.host} does not answer as one.")
        return answer

    async def _error(self, response: aiohttp.ClientResponse) -> RemoteError:
        text = f"{self._place} answered {response.status}{await _told(response)}"
        wait = retry_after(response.headers.get(hdrs.RETRY_AFTER, ""))
        match response.status:
            case 401 | 403:
                host = self._authority.withheld
                told = f"{host} was not told the password; if it may be, name it: `auth_host` (--auth-host)."
                hint = told if host else ""
                return RemoteUnauthorized(text, hint=hint)
            case 404:
                return RemoteNotFound(text)
            case 429:
                return RemoteLimited(text, retry_after=wait)
            case 408 | 500 | 502 | 503 | 504:
                return RemoteUnavailable(text, retry_after=wait)
        return RemoteError(text)

    def translated(self) -> _Translated:
        """A context in which aiohttp's errors become RemoteError."""
        return _Translated(self._place)

    @property
    def _place(self) -> str:
        return self.url.host_port_subcomponent or ""


class _Translated:
    def __init__(self, host: str) -> None:
        self._host = host

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, aiohttp.ClientConnectorCertificateError):
            text = f"The certificate of {self._host} is not trusted: {exc.certificate_error}."
            raise RemoteError(text, hint="Name its authority in ca_file.") from exc
        if isinstance(exc, aiohttp.ClientConnectorSSLError):
            text = f"{self._host} does not speak TLS as it should: {exc.os_error.strerror or exc.os_error}."
            raise RemoteError(text, hint="If it has none at all, write http:// in front of it.") from exc
        if isinstance(exc, TimeoutError):
            raise RemoteUnavailable(f"{self._host} does not answer in time.") from exc
        if isinstance(exc, aiohttp.InvalidURL):
            raise RemoteInvalid(f"{self._host} names an address that is none.") from exc
        if isinstance(exc, aiohttp.ClientConnectorError):
            text = f"{self._host} cannot be reached: {exc.os_error.strerror or exc.os_error}."
            raise RemoteUnavailable(text) from exc
        if isinstance(exc, aiohttp.ClientError | ConnectionError):
            raise RemoteUnavailable(f"{self._host} cannot be reached: {exc or type(exc).__name__}.") from exc


def retry_after(text: str) -> float:
    """Seconds from a Retry-After header, RFC 9110, section 10.2.3; 0 if it does not say."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (ValueError, OverflowError):
        return 0.0


async def read_at_most(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of an answer. Raises RemoteInvalid if it has more than `most` bytes."""
    pieces = bytearray()
    while piece := await response.content.readany():
        pieces += piece
        if len(pieces) > most:
            raise RemoteInvalid(f"The answer of {response.url.host} has more than {most} bytes.")
    return bytes(pieces)


def read_json(body: bytes) -> Any:
    """JSON from anyone. Raises RemoteInvalid."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise RemoteInvalid("The answer is not JSON.") from exc


async def _told(response: aiohttp.ClientResponse) -> str:
    """What the registry says itself, on one line and short."""
    try:
        error = read_json(await read_at_most(response, _MOST_TEXT))["errors"][0]
        words = f"{error['code']}: {error.get('message', '')}"
    except (RemoteInvalid, LookupError, TypeError, AttributeError, aiohttp.ClientError):
        words = response.reason or ""
    clean = "".join(one if one.isprintable() else " " for one in words)[:300].rstrip(". ")
    return f": {clean}." if clean else "."


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as exc:
            raise Invalid(f"The certificates in {ca_file} cannot be read: {exc}.") from exc
    return context
