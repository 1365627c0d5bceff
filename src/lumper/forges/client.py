"""Client for the APIs of forges. It follows no redirect, since the token would go along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from lumper.errors import ForgeRefused, ForgeUnavailable, ForgeUnknown
from lumper.forges.payload import shown
from lumper.forges.port import ApiRequest

_SECONDS = 20.0
_MOST_BYTES = 1 << 20
_LATER = (408, 425, 429, 500, 502, 503, 504)
_MEANINGS = {
    401: "the token is not accepted",
    403: "the token may not do that",
    404: "there is no such repository, or the token may not see it",
}


class ForgeClient:
    """One client for all forges, with a session per request: there are few."""

    async def send(self, request: ApiRequest) -> Mapping[str, Any]:
        """The JSON object that came back, or an empty one. Raises ForgeUnavailable, ForgeRefused, ForgeUnknown."""
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.request(
                    request.method,
                    request.url,
                    json=request.body,
                    headers={"User-Agent": "lumper", **request.headers},
                    allow_redirects=False,
                ) as answer,
            ):
                body = await _all_of(answer.content)
                status = answer.status
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as exc:
            raise ForgeUnavailable(f"The forge cannot be reached: {shown(str(exc)) or type(exc).__name__}.") from exc
        return _read(status, body)


async def _all_of(content: aiohttp.StreamReader) -> bytes:
    """An answer, however many pieces it comes in; no more than the most that is read of it."""
    found = bytearray()
    while len(found) < _MOST_BYTES and (piece := await content.read(_MOST_BYTES - len(found))):
        found += piece
    return bytes(found)


def _read(status: int, body: bytes) -> Mapping[str, Any]:
    if status in _LATER:
        raise ForgeUnavailable(f"The forge answered {status}.")
    try:
        value = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        value = {}
    if not 200 <= status < 300:
        told = value.get("message") or value.get("error") if isinstance(value, dict) else ""
        meaning = _MEANINGS.get(status, shown(str(told), 200) if told else "it does not say why")
        kind = ForgeUnknown if status in (404, 410) else ForgeRefused
        raise kind(f"The forge answered {status}: {meaning}.")
    return value if isinstance(value, dict) else {}
