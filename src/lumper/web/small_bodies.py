"""Small bodies of requests: read whole, up to a limit of bytes and of time; forms among them.

aiohttp's own reading of forms waits for ever, and takes whatever character set and multipart form a client names.
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from lumper.errors import Invalid

MOST_BYTES = 64 * 1024  # bytes
SECONDS = 60.0
_MOST_FIELDS = 100
_FORM = "application/x-www-form-urlencoded"


async def whole_body(request: web.Request) -> bytes:
    """The body. Raises Invalid if its end does not come, web.HTTPRequestEntityTooLarge."""
    data = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > MOST_BYTES:
                    raise web.HTTPRequestEntityTooLarge(MOST_BYTES, len(data))
    except TimeoutError as exc:
        raise Invalid(f"The body did not come within {SECONDS:.0f} s.") from exc
    except (ClientPayloadError, HttpProcessingError, web.RequestPayloadError) as exc:
        raise Invalid("The body is not well-formed.") from exc
    return bytes(data)


async def form_of(request: web.Request) -> dict[str, str]:
    """The fields of a form as Lumper's pages send it. Raises Invalid, web.HTTPRequestEntityTooLarge."""
    if request.content_type != _FORM:
        raise Invalid("This is not a form as Lumper's pages send it.")
    body = await whole_body(request)
    try:
        return dict(
            parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
        )
    except ValueError as exc:
        raise Invalid("The form is not understood.") from exc
