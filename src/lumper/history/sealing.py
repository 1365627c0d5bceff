"""Secrets at rest: AES-256-GCM (NIST SP 800-38D) with a key that lies in a file of its own, apart from the database."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lumper.errors import StorageError
from lumper.secret_files import made_once

_NONCE = 12  # bytes; random ones are safe for 2**32 secrets of one key: SP 800-38D, section 8.3
_KEY = 32  # bytes
_MAKE = "`head -c 32 /dev/urandom | base64` makes a key; every server and every backup needs the same one."


class Sealer:
    """Seals and opens by the key in `file`, which is made on first use. Raises StorageError."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: tuple[tuple[int, int, int], AESGCM] | None = None

    def seal(self, content: bytes, about: str) -> bytes:
        """The content so that only `open` with the same `about` reads it: it cannot be put to another use."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher().encrypt(nonce, content, about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """What was sealed."""
        try:
            return self._cipher().decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode())
        except (InvalidTag, ValueError) as exc:
            raise StorageError(
                f"A secret cannot be read with the key in {self._file}.",
                hint="Put back the key that it was stored with, from a backup or another server, or set it anew.",
            ) from exc

    def seal_text(self, text: str, about: str) -> bytes:
        """As `seal`; no text gives no bytes, so that a query can tell whether there is any."""
        return self.seal(text.encode(), about) if text else b""

    def open_text(self, sealed: bytes, about: str) -> str:
        """What `seal_text` has sealed."""
        return self.open(sealed, about).decode() if sealed else ""

    def _cipher(self) -> AESGCM:
        """The cipher, for as long as the file is the one that its key was read from: every delivery asks for it."""
        known = self._known
        if known is None or known[0] != _identity(self._file):
            cipher = AESGCM(make_key(self._file))
            known = self._known = (_identity(self._file), cipher)
        return known[1]


def _identity(file: Path) -> tuple[int, int, int]:
    """Which file this is, as far as that can be told without reading it; (0, 0, 0) for none."""
    try:
        seen = file.stat()
    except OSError:
        return 0, 0, 0
    return seen.st_ino, seen.st_mtime_ns, seen.st_size


def make_key(file: Path) -> bytes:
    """Read the key, or make one. Raises StorageError."""
    try:
        content = made_once(file, lambda: base64.b64encode(secrets.token_bytes(_KEY)) + b"\n")
    except OSError as exc:
        raise StorageError(f"The key file {file} cannot be used: {exc}.") from exc
    return _key_in(file, content)


def read_key(file: Path) -> bytes:
    """Read the key, which must be there. Raises StorageError."""
    try:
        content = file.read_bytes()
    except OSError as exc:
        raise StorageError(f"The key file {file} cannot be used: {exc.strerror}.", hint=_MAKE) from exc
    return _key_in(file, content)


def _key_in(file: Path, content: bytes) -> bytes:
    try:
        key = base64.b64decode(content.strip(), validate=True)
    except ValueError as exc:
        raise StorageError(f"The key file {file} cannot be used: {exc}.", hint=_MAKE) from exc
    if len(key) != _KEY:
        raise StorageError(f"{file} does not hold a key.", hint="Put it back from a backup.")
    return key
