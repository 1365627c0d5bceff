"""What browsers are told to refuse, and which forms are taken from them.

Sources: W3C "Content Security Policy Level 3"; OWASP "Cross-Site Request Forgery Prevention Cheat Sheet".
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from lumper.errors import Forbidden
from lumper.web.auth.csrf import same_origin

_MACHINES = ("/v2/", "/api/", "/hooks/", "/metrics")  # paths that no browser shows
_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
FOREIGN_POLICY = (  # for documents that other people wrote: no script, no form, nothing from elsewhere, no origin
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def for_machines(path: str) -> bool:
    """Whether a path belongs to the registry, the API or the webhook door."""
    return path.startswith(_MACHINES) or path == "/v2"


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Give every answer for people its headers; to be called as a signal of `on_response_prepare`."""
    if for_machines(request.path):
        return
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")


def require_same_origin(request: web.Request, public_url: str) -> None:
    """Refuse a form that another site sent. Raises Forbidden.

    The session's cookie is SameSite already; this holds where that does not, such as between ports of one host. A
    proxy may change the Host that we see, so the public address counts as ours too.
    """
    own = urlsplit(public_url).netloc
    public = "Sec-Fetch-Site" not in request.headers and request.headers.get("Origin", "").endswith(f"://{own}")
    if not (same_origin(request) or (own and public)):
        raise Forbidden("This form was sent by another site.", hint="Open the page in Lumper itself and try again.")
