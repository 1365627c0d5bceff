"""Signed tokens (ES256 JWT, RFC 7519): short ones for the registry, long ones in the session cookie."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from lumper.errors import StorageError
from lumper.history.tokens import BUILD_PREFIX
from lumper.secret_files import made_once

_ALGORITHM = "ES256"
_ISSUER = "lumper"
_LEEWAY = 5.0  # seconds between the clocks of two machines that share the key
_LONGEST = 16_384  # characters; what is longer is not looked at


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
        return jwt.encode({"alg": _ALGORITHM}, {**claims, **standard}, self._key, algorithms=[_ALGORITHM])

    def verify(self, audience: str, token: str) -> dict[str, Any] | None:
        """The claims, if the token was signed here for this audience and has not expired.

        The algorithm is fixed and the header's key id is not looked at; `aud` must be that one string and no list
        (CVE-2020-26160).
        """
        if len(token) > _LONGEST or not token.isascii():
            return None
        try:
            claims = jwt.decode(token, self._key, algorithms=[_ALGORITHM]).claims
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            return None
        if claims.get("iss") != _ISSUER or claims.get("aud") != audience:
            return None
        now = self._clock()
        expires, issued = claims.get("exp"), claims.get("iat")
        if not _is_time(expires) or not _is_time(issued):
            return None
        return claims if issued - _LEEWAY <= now < expires else None


def build_token(keys: Keys, build_id: int, attempt: int) -> str:
    """What one attempt of a build signs in to the registry with, until it has ended or for six hours."""
    return BUILD_PREFIX + keys.sign(BUILD_AUDIENCE, {"build": build_id, "attempt": attempt}, _BUILD_SECONDS)


def _is_time(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def make_key(file: Path) -> ECKey:
    """Read the key, or make one. Raises StorageError."""
    try:
        return ECKey.import_key(made_once(file, lambda: ECKey.generate_key("P-256").as_pem(private=True)))
    except (OSError, ValueError, JoseError) as exc:
        raise StorageError(
            f"The key file {file} cannot be used: {exc}.",
            hint="Remove it to have a new one made; everyone signs in anew.",
        ) from exc
