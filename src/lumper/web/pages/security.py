"""What browsers are told to refuse, and which forms are taken from them.

Sources: W3C "Content Security Policy Level 3"; OWASP "Cross-Site Request Forgery Prevention Cheat Sheet".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from lumper.errors import Forbidden
from lumper.web.auth.csrf import same_origin

_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
FOREIGN_POLICY = (  # for documents that other people wrote: no script, no form, nothing from elsewhere, no origin
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
HEADERS = {  # of all that a browser shows; what has a Cache-Control of its own keeps that
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def with_headers(handler: _Handler) -> _Handler:
    """`handler` with the headers above in its answers; one that streams has to begin with them itself."""

    async def secured(request: web.Request) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as exc:
            _add(exc)
            raise
        if not response.prepared:
            _add(response)
        return response

    return secured


def _add(response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def require_same_origin(request: web.Request, public_url: str) -> None:
    """Refuse a form that another site sent. Raises Forbidden.

    The session's cookie is SameSite already; this holds where that does not, such as between ports of one host. A
    proxy may change the Host that we see, so the public address counts as ours too.
    """
    own = urlsplit(public_url).netloc
    public = "Sec-Fetch-Site" not in request.headers and request.headers.get("Origin", "").endswith(f"://{own}")
    if not (same_origin(request) or (own and public)):
        raise Forbidden("This form was sent by another site.", hint="Open the page in Lumper itself and try again.")
