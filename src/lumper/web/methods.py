"""Methods that an address takes."""

from __future__ import annotations

from aiohttp import web


async def allowed_methods(request: web.Request) -> list[str]:
    """The methods of all routes at this request's address but those that take any; none if there is no such route."""
    known = [await resource.resolve(request) for resource in request.app.router.resources()]
    return sorted(set[str]().union(*(methods for _, methods in known)) - {"*"})
