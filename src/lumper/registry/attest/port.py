"""What signs images."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """Signs with one key."""

    @property
    def public_key(self) -> str:
        """As PEM."""

    @property
    def id(self) -> str:
        """The digest of the public key."""

    def sign(self, data: bytes) -> bytes:
        """The signature, as ASN.1."""

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether this key has signed these bytes."""
