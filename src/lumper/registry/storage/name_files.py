"""The names in a folder: which manifests a repository has, and where its tags point."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from lumper.model.images.image import Name
from lumper.registry import paths
from lumper.system.fsync import sync_folder

_MOST_BYTES = 512  # of a media type or a digest; what is longer is neither
_LONGEST = 255  # characters of a repository's name: no deeper folder is one


def read_name(path: Path) -> str | None:
    """What a file says; None if there is none. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb", 0) as file:
        return file.read(_MOST_BYTES).decode("utf-8", "replace")


def erase_name(path: Path) -> None:
    """Remove a file from the disk, also one that is gone: who did that may not have got so far. Raises OSError."""
    path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):  # of a repository of which nothing was ever said
        sync_folder(path.parent)


def named(root: Path) -> Iterator[tuple[Name, datetime]]:
    """All that is said under a root, each repository's manifests before its tags. Raises OSError."""
    yield from _named(paths.names(root), "")


def _named(folder: Path, repository: str) -> Iterator[tuple[Name, datetime]]:
    for kind in (paths.MANIFESTS, paths.TAGS):
        for entry in _entries(folder / kind):
            try:
                says, at = read_name(Path(entry.path)), entry.stat(follow_symlinks=False).st_mtime
            except OSError:  # it went meanwhile, or is no file that says anything
                continue
            if says is not None and entry.is_file(follow_symlinks=False):
                reference = paths.reference(kind, entry.name)
                yield Name(repository, reference, says), datetime.fromtimestamp(at, UTC)
    below = [e.name for e in _entries(folder) if e.is_dir(follow_symlinks=False) and not e.name.startswith("_")]
    for name in sorted(below):
        inner = f"{repository}/{name}".lstrip("/")
        if len(inner) <= _LONGEST:
            yield from _named(folder / name, inner)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """In no order: a folder may have a million."""
    try:
        with os.scandir(folder) as found:
            yield from found
    except (FileNotFoundError, NotADirectoryError):
        return
