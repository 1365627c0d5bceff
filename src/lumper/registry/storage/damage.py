"""Blobs whose bytes are not what their digest says: they are set aside, and looked at again before they go.

A disk or a controller may have had a bad moment, so nothing is thrown away because of one look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from lumper.model.images.image import is_digest
from lumper.registry import paths
from lumper.system.fsync import sync_folder


def told_wrong(digest: str, size: int, found: str) -> str:
    """What is wrong with bytes that have the digest `found`; "" if nothing is."""
    return "" if found == digest else f"its {size} bytes have the digest {found}"


def set_aside(root: Path, digest: str, make: Callable[[Path], None]) -> str:
    """Move the file of a blob away if its bytes are wrong; what is wrong with them. Raises OSError."""
    path, aside = paths.blob(root, digest), paths.set_aside(root, digest)
    why = _wrong(path, digest)
    if why:
        make(aside.parent)
        path.replace(aside)
        sync_folder(aside.parent)
        sync_folder(path.parent)
    return why


def review(root: Path) -> list[str]:
    """Put back what is right, remove what is there anew; the digests of the rest. Raises OSError."""
    rest: list[str] = []
    for digest in sorted(_all(root)):
        path, aside = paths.blob(root, digest), paths.set_aside(root, digest)
        if path.exists():
            aside.unlink(missing_ok=True)
        elif _wrong(aside, digest):
            rest.append(digest)
        elif aside.exists():  # or else it was deleted meanwhile
            aside.replace(path)
            sync_folder(path.parent)
    return rest


def _all(root: Path) -> Iterator[str]:
    folder = paths.damaged(root)
    for file in folder.iterdir() if folder.is_dir() else ():
        digest = file.name.replace("-", ":", 1)
        if is_digest(digest):
            yield digest


def _wrong(path: Path, digest: str) -> str:
    """What is wrong with a file; "" if nothing is, or if there is none."""
    algorithm = digest.partition(":")[0]
    try:
        with path.open("rb", 0) as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
            return told_wrong(digest, file.tell(), f"{algorithm}:{found}")
    except FileNotFoundError:
        return ""
    except OSError as exc:
        return f"it cannot be read: {exc.strerror}"
