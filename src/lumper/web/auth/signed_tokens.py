"""Signed tokens (JWT, RFC 7519): short ones for the registry, long ones in the session cookie.

They are signed by HMAC with SHA-256 ("HS256"): nobody reads them but who makes them, which are servers with the same
key. What a public key needs of libraries are 10 MB of memory.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from lumper.accounts.tokens import BUILD_PREFIX
from lumper.system.secret_files import make_key

_ISSUER = "lumper"
_LEEWAY = 5.0  # seconds between the clocks of two machines that share the key
_LONGEST = 16_384  # characters; what is longer is not looked at


def _encoded(data: bytes) -> str:
    """As base64url without padding: RFC 7515, section 2."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_HEADER = _encoded(b'{"alg":"HS256","typ":"JWT"}')

BUILD_AUDIENCE = "lumper-build"
_BUILD_SECONDS = 6 * 3600  # a large image takes its time on a slow line


class Keys:
    """Signs and verifies with the key in a file that only its owner can read; it is made on first use.

    Raises StorageError if the file cannot be used.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._key = make_key(file)
        self._clock = clock

    def sign(self, audience: str, claims: Mapping[str, Any], seconds: int) -> str:
        """A token with these claims, good for `audience` for so long."""
        now = int(self._clock())
        standard = {"iss": _ISSUER, "aud": audience, "iat": now, "exp": now + seconds, "jti": secrets.token_hex(8)}
        return self._signed(f"{_HEADER}.{_encoded(json.dumps({**claims, **standard}).encode())}")

    def verify(self, audience: str, token: str) -> dict[str, Any] | None:
        """The claims, if the token was signed here for this audience and has not expired.

        The header must be ours to the letter, so that no token chooses how it is verified (RFC 8725, section 3.1), and
        nothing of a token is read before its signature was compared; `aud` must be that one string and no list
        (CVE-2020-26160).
        """
        if len(token) > _LONGEST or not token.isascii():
            return None
        message = token.rpartition(".")[0]
        header, _, payload = message.partition(".")
        if header != _HEADER or not hmac.compare_digest(self._signed(message), token):
            return None
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        if claims.get("iss") != _ISSUER or claims.get("aud") != audience:
            return None
        now = self._clock()
        expires, issued = claims.get("exp"), claims.get("iat")
        if not _is_time(expires) or not _is_time(issued):
            return None
        return claims if issued - _LEEWAY <= now < expires else None

    def _signed(self, message: str) -> str:
        return f"{message}.{_encoded(hmac.digest(self._key, message.encode(), 'sha256'))}"


def build_token(keys: Keys, build_id: int, attempt: int) -> str:
    """What one attempt of a build signs in to the registry with, until it has ended or for six hours."""
    return BUILD_PREFIX + keys.sign(BUILD_AUDIENCE, {"build": build_id, "attempt": attempt}, _BUILD_SECONDS)


def _is_time(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
