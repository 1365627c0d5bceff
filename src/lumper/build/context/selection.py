"""Which files of a context the paths in a Dockerfile mean, wildcards and symbolic links on the way included.

Source: tonistiigi/fsutil, followlinks.go; Go's path/filepath, "Match".
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from lumper.build.context.dockerignore import name_pattern
from lumper.build.port import ContextEntry, Files

_WILD = frozenset("*?[\\")
_MOST_LINKS = 255

Way = tuple[str, list[str]]
"""A folder that was found, and the names that are to be followed from there."""


async def select(
    files: Files, patterns: Iterable[str], base: str = "", most: int = 0
) -> dict[str, ContextEntry] | None:
    """What the patterns mean below the folder `base`, by its path there, with all folders above; without any, all.

    It is rather too much than too little. Folders come before what they have, names in the order of their bytes. None
    if there are more than `most`. Raises SourceError, NotOneByOne.
    """
    search = _Search(files, base, most)
    waiting = deque(("", _parts(pattern.strip("/"))) for pattern in patterns) or deque([("", [])])
    while waiting and not search.too_many:
        waiting += await search.follow(*waiting.popleft())
    if search.too_many:
        return None
    return dict(sorted(search.found.items(), key=lambda item: os.fsencode(item[0]).split(b"/")))


class _Search:
    """What was found so far."""

    def __init__(self, files: Files, base: str, most: int) -> None:
        self._files = files
        self._base = base
        self._most = most
        self._links = 0
        self.found: dict[str, ContextEntry] = {}

    @property
    def too_many(self) -> bool:
        return 0 < self._most < len(self.found)

    async def follow(self, here: str, parts: Sequence[str]) -> list[Way]:
        """Find what the first of these names means in the folder `here`; where to go on."""
        if not parts:
            await self._below(here)
            return []
        first, *rest = parts
        [names] = await self._look([here])
        try:
            fitting = _fitting(first, names)
        except ValueError:  # it leads out of the context, or is not understood
            await self._below("")
            return []
        ways = list[Way]()
        for name in fitting:
            entry, path = names[name], _joined(here, name)
            self.found[path] = entry
            if stat.S_ISLNK(entry.mode):
                ways.append(self._led(here, entry.link, rest))
            elif stat.S_ISDIR(entry.mode):
                ways.append((path, rest))
        return ways

    def _led(self, here: str, link: str, rest: Sequence[str]) -> Way:
        self._links += 1
        if self._links > _MOST_LINKS:
            return "", []
        return "", [*_parts(link.lstrip("/") if link.startswith("/") else _joined(here, link)), *rest]

    async def _below(self, folder: str) -> None:
        """Find all that is in a folder."""
        level = [folder]
        while level and not self.too_many:
            deeper = list[str]()
            for path, names in zip(level, await self._look(level), strict=True):
                inner = {_joined(path, name): entry for name, entry in names.items()}
                self.found |= inner
                deeper += [each for each, entry in inner.items() if stat.S_ISDIR(entry.mode)]
            level = deeper

    async def _look(self, folders: Sequence[str]) -> Sequence[Mapping[str, ContextEntry]]:
        return await self._files.folders([_joined(self._base, folder) for folder in folders])


def _parts(path: str) -> list[str]:
    clean = os.path.normpath(path or ".")
    return [] if clean == "." else clean.split("/")


def _fitting(part: str, names: Mapping[str, ContextEntry]) -> list[str]:
    """The names that a part of a pattern means. Raises ValueError."""
    if part == "..":
        raise ValueError("it leads out of the context")
    if not _WILD & set(part):
        return [part] if part in names else []
    pattern = name_pattern(part)
    return [name for name in names if pattern.accepts(pattern.advance(pattern.start, name))]


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name
