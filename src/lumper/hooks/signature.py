"""HMAC signatures over bytes, checked in constant time."""

from __future__ import annotations

import hashlib
import hmac


def hmac_sha256(secret: str, signed: bytes) -> str:
    """The signature in lower-case hexadecimal, as forges write it."""
    return hmac.new(secret.encode("utf-8"), signed, hashlib.sha256).hexdigest()


def fits(given: str, secret: str, signed: bytes, *, prefix: str = "") -> bool:
    """Whether `given` is `prefix` and the HMAC-SHA256 of `signed`. An empty secret fits nothing; no text raises."""
    expected = prefix + hmac_sha256(secret, signed)
    same = hmac.compare_digest(given.encode("ascii", "replace"), expected.encode("ascii"))
    return same and bool(secret)
