"""The API's answers: JSON, lines of JSON, and errors as {"error": "…", "hint": "…"}."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter

from lumper.errors import (
    Conflict,
    Forbidden,
    ForgeError,
    Invalid,
    LumperError,
    NotFound,
    QueueUnavailable,
    SourceRefused,
    StorageError,
    StorageFull,
    TooManyAttempts,
    Unauthorized,
)
from lumper.web.health import AGAIN_SECONDS

_STATUS = {
    Unauthorized: 401,
    TooManyAttempts: 429,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Invalid: 400,
    SourceRefused: 400,
    StorageFull: 507,
    StorageError: 503,
    QueueUnavailable: 503,
    ForgeError: 502,
}
_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def answer(value: object, status: int = 200) -> web.Response:
    """Any dataclass, or list of them, as JSON."""
    return web.Response(body=_ANY.dump_json(value), content_type="application/json", status=status)


async def answer_lines(request: web.Request, values: AsyncIterator[object]) -> web.StreamResponse:
    """Each of the values as a line of JSON, as it comes; an error that ends them is the last line."""
    response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
    await response.prepare(request)
    try:
        async for value in values:
            await response.write(_line(value))
    except LumperError as exc:
        await response.write(_line({"error": exc.message, "hint": exc.hint}))
    await response.write_eof()
    return response


def _line(value: object) -> bytes:
    return _ANY.dump_json(value) + b"\n"


def error_response(exc: LumperError) -> web.Response:
    """The error as JSON with its hint and the status that fits it."""
    status = next((code for kind, code in _STATUS.items() if isinstance(exc, kind)), 500)
    response = answer({"error": exc.message, "hint": exc.hint}, status)
    if isinstance(exc, TooManyAttempts):
        response.headers["Retry-After"] = str(exc.retry_after)
    elif status == _STATUS[StorageError]:
        response.headers["Retry-After"] = AGAIN_SECONDS
    return response
