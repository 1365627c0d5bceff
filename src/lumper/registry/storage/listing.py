"""The blobs of a folder in the order of their digests, from anywhere on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from lumper.model.images.image import is_digest
from lumper.registry import paths


def listed(root: Path, after: str, limit: int) -> list[tuple[str, int, datetime]]:
    """Digest, size and time of at most `limit` blobs after `after`. Raises OSError."""
    return list(islice(_listed(root, after), limit))


def _listed(root: Path, after: str) -> Iterator[tuple[str, int, datetime]]:
    algorithm_after, _, encoded_after = after.partition(":")
    for algorithm in _names(paths.blobs(root)):
        least = encoded_after if algorithm == algorithm_after else ""
        if algorithm < algorithm_after:
            continue
        for folder in _names(paths.blobs(root) / algorithm):
            if folder < least[:2]:
                continue
            for name in _names(paths.blobs(root) / algorithm / folder):
                digest = f"{algorithm}:{name}"
                if digest <= after or not is_digest(digest):
                    continue
                try:
                    found = paths.blob(root, digest).stat()
                except FileNotFoundError:  # it was deleted meanwhile
                    continue
                yield digest, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
