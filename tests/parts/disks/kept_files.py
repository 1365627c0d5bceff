"""The files in a folder where somebody else works: what goes while one looks is not there any more."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

Seen = TypeVar("Seen")


def contents_in(folder: Path) -> dict[Path, bytes]:
    """What every file there has in it."""
    return _seen_in(folder, Path.read_bytes)


def sizes_in(folder: Path) -> dict[Path, int]:
    """How many bytes every file there has."""
    return _seen_in(folder, lambda path: path.stat().st_size)


def _seen_in(folder: Path, look: Callable[[Path], Seen]) -> dict[Path, Seen]:
    found = {}
    for place, _, names in os.walk(folder):  # which a folder that goes meanwhile does not trouble
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file():
                    found[path] = look(path)
    return found
