"""A context that is held in memory, whose files can be had one by one."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import AsyncGenerator, Mapping, Sequence

from lumper.build.port import ContextEntry, NotOneByOne


class HeldFiles:
    """Implements `Files` of build/port.py. `read_so_far` were read; the folder `odd` cannot be had."""

    def __init__(
        self,
        files: Mapping[str, bytes | str],
        *,
        key: str = "",
        time: int | None = None,
        links: Mapping[str, str] | None = None,
        odd: str = "",
    ) -> None:
        self.key = key
        self.time = time
        self.read_so_far: list[str] = []
        self._odd = odd
        self._contents = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        self._folders: dict[str, dict[str, ContextEntry]] = {"": {}}
        for path, content in self._contents.items():
            executable = 0o111 if path.rpartition("/")[2] == "busybox" else 0
            mode, digest = stat.S_IFREG | 0o644 | executable, hashlib.sha256(content).hexdigest()
            self._put(ContextEntry(path, mode, time or 0, len(content), content=digest))
        for path, target in (links or {}).items():
            self._put(ContextEntry(path, stat.S_IFLNK | 0o777, time or 0, len(target), target))

    def _put(self, entry: ContextEntry) -> None:
        folder, _, name = entry.path.rpartition("/")
        if folder not in self._folders:
            self._put(ContextEntry(folder, stat.S_IFDIR | 0o755, entry.time))
        self._folders.setdefault(folder, {})[name] = entry

    async def folders(self, paths: Sequence[str]) -> list[Mapping[str, ContextEntry]]:
        if self._odd in paths and self._odd:
            raise NotOneByOne
        return [self._folders.get(path, {}) for path in paths]

    async def sized(self, entries: Sequence[ContextEntry]) -> Sequence[ContextEntry]:
        return entries

    async def read(self, paths: Sequence[str]) -> AsyncGenerator[bytes]:
        for path in paths:
            self.read_so_far.append(path)
            if content := self._contents[path]:
                yield content
            yield b""
