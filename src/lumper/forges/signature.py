"""HMAC signatures over bytes, checked in constant time."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Set
from urllib.parse import quote_plus

from lumper.forges.port import Request

_HIDDEN = "***"


def hmac_sha256(secret: str, signed: bytes) -> str:
    """The signature in lower-case hexadecimal, as forges write it."""
    return hmac.new(secret.encode("utf-8"), signed, hashlib.sha256).hexdigest()


def fits(given: str, secret: str, signed: bytes, *, prefix: str = "") -> bool:
    """Whether `given` is `prefix` and the HMAC-SHA256 of `signed`. An empty secret fits nothing; no text raises."""
    expected = prefix + hmac_sha256(secret, signed)
    same = hmac.compare_digest(given.encode("ascii", "replace"), expected.encode("ascii"))
    return same and bool(secret)


def without_secret(request: Request, secret: str, headers: Set[str] = frozenset()) -> Request:
    """The request as it may be stored: without these secret headers, and without the secret anywhere else.

    Old forges put it into the payload.
    """
    kept, body = {name: value for name, value in request.headers.items() if name not in headers}, request.body
    if not secret:
        return Request(kept, body)
    in_json = json.dumps(secret)[1:-1]
    in_go = in_json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")  # encoding/json
    spellings = {secret, in_json, in_go, *map(quote_plus, (secret, in_json, in_go))}
    for spelling in sorted(spellings, key=len, reverse=True):
        kept = {name: value.replace(spelling, _HIDDEN) for name, value in kept.items()}
        body = body.replace(spelling.encode(), _HIDDEN.encode())
    return Request(kept, body)
