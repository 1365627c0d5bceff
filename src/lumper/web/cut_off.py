"""Errors that come when a part of another answer has gone: they cannot be told in the middle of it."""

from __future__ import annotations

from aiohttp import web

from lumper.logs import get_logger

log = get_logger(__name__)


def cut_off(request: web.Request, error: str) -> None:
    """End the connection if a part of the answer has gone, so that nobody takes that for all of it.

    What the handler returns then goes nowhere.
    """
    if request.writer.output_size and request.transport is not None:
        log.warning("an answer was cut off", action="web.cut_off", path=request.path, error=error)
        request.transport.abort()
