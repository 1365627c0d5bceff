"""Whether a change comes from one of our own pages.

Source: OWASP, Cross-Site Request Forgery Prevention, "Fetch Metadata headers" and "Origin".
"""

from __future__ import annotations

from aiohttp import web


def same_origin(request: web.Request) -> bool:
    """Whether a request that changes something comes from one of our own pages, or from no browser at all."""
    site = request.headers.get("Sec-Fetch-Site", "")
    if site:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or origin.partition("://")[2] == request.host
