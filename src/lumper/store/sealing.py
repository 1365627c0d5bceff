"""Secrets at rest: sealed with a key that lies in a file of its own, apart from the database."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from lumper.errors import StorageError
from lumper.system.secret_files import make_key


class Cipher(Protocol):
    """Seals bytes with one key, so that they can be opened only by who tells the same of them."""

    def seal(self, content: bytes, about: bytes) -> bytes: ...

    def open(self, sealed: bytes, about: bytes) -> bytes:
        """Raises ValueError for what was not sealed so."""


class Sealer:
    """Seals and opens by the key in `file`, which is made on first use. Raises StorageError."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: tuple[tuple[int, int, int], Cipher] | None = None

    def seal(self, content: bytes, about: str) -> bytes:
        """The content so that only `open` with the same `about` reads it: it cannot be put to another use."""
        return self._cipher().seal(content, about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """What was sealed."""
        try:
            return self._cipher().open(sealed, about.encode())
        except ValueError as exc:
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

    def _cipher(self) -> Cipher:
        """The cipher, for as long as the file is the one that its key was read from: every delivery asks for it."""
        known = self._known
        if known is None or known[0] != _identity(self._file):
            from lumper.store.cipher import AesGcm  # 8 MB, which who seals nothing does without

            cipher = AesGcm(make_key(self._file))
            known = self._known = (_identity(self._file), cipher)
        return known[1]


def _identity(file: Path) -> tuple[int, int, int]:
    """Which file this is, as far as that can be told without reading it; (0, 0, 0) for none."""
    try:
        seen = file.stat()
    except OSError:
        return 0, 0, 0
    return seen.st_ino, seen.st_mtime_ns, seen.st_size
