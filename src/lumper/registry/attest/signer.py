"""The instance's signing key: ECDSA on P-256 with SHA-256, as cosign's own keys are."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from lumper.errors import StorageError
from lumper.model.images.image import digest_of
from lumper.system.full_disk import storage_error
from lumper.system.secret_files import made_once


class EcdsaSigner:
    """Signs with one key. `id` is the digest of the public one, which is told as PEM."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        public = key.public_key()
        self.public_key = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.id = digest_of(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def sign(self, data: bytes) -> bytes:
        """The signature, as ASN.1: the same for the same bytes (RFC 6979) where OpenSSL can do that."""
        try:
            return self._key.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:
            return self._key.sign(data, ec.ECDSA(SHA256()))

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether this key has signed these bytes."""
        try:
            self._key.public_key().verify(signature, data, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def read_signer(file: Path) -> EcdsaSigner:
    """The signer with the key in a PEM file. Raises StorageError."""
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise StorageError(f"The signing key {file} cannot be used: {exc}.") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise StorageError(f"The signing key {file} is not one for ECDSA on P-256.")
    return EcdsaSigner(key)


def make_signing_key(file: Path) -> None:
    """Make the PEM file, if there is none. Raises StorageFull, StorageError."""
    try:
        made_once(file, _new_key)
    except OSError as exc:
        raise storage_error(exc, f"The signing key {file} cannot be made: {exc.strerror}.") from exc


def _new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
