"""Folders for one build, on disk and in memory, in which nobody else can look.

<base>/                   mode 0700
  work/<build>/           what a build under way has on disk
<volatile>/               in memory, mode 0700
  <build>/                credentials and secrets of a build under way
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lumper.errors import EngineUnavailable
from lumper.system.full_disk import no_space_left

_MEMORY = Path("/dev/shm")  # noqa: S108 (what is made there is checked to be ours)


@dataclass(frozen=True)
class Folders:
    """The folders of one build: on disk, and in memory."""

    work: Path
    secret: Path

    def keep(self, name: str, content: bytes) -> Path:
        """Write a file that nobody else may read, and that never comes to a disk."""
        path = self.secret / name
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(content)
        return path


class Workshop:
    """The folders of one engine below `base`; `kind` is what it is called."""

    def __init__(self, base: Path, kind: str) -> None:
        self.base = base.absolute()
        self._kind = kind
        mark = hashlib.sha256(str(self.base).encode()).hexdigest()[:16]
        memory = _MEMORY if os.access(_MEMORY, os.W_OK) else self.base
        self.volatile = memory / f"lumper-{kind}-{os.getuid()}-{mark}"

    def prepare(self) -> None:
        """Make the folders. Blocking. Raises EngineUnavailable."""
        try:
            for folder in (self.base, self.base / "work"):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.volatile.mkdir(exist_ok=True, mode=0o700)
            told = self.volatile.lstat()
        except OSError as exc:
            raise self.unusable(exc) from exc
        if told.st_uid != os.getuid() or not stat.S_ISDIR(told.st_mode) or told.st_mode & 0o077:
            raise self.unavailable(
                f"{self.volatile} belongs to somebody else",
                f"Find out who made it, and remove it: rm -r {self.volatile}",
            )

    def unusable(self, exc: OSError | ValueError) -> EngineUnavailable:
        """The error for folders that cannot be written."""
        user = "The user that runs the worker must be able to write there."
        hint = "Free some space there." if no_space_left(exc) else user
        return self.unavailable(f"{self.base}: {exc}", hint)

    def unavailable(self, why: str, hint: str) -> EngineUnavailable:
        """The error that says that there is no place to work in."""
        return EngineUnavailable(f"The build engine at {self._kind} cannot be reached: {why}.", hint=hint)

    @asynccontextmanager
    async def folders(self) -> AsyncIterator[Folders]:
        """Folders for one build, which are gone afterwards."""
        name = uuid.uuid4().hex
        folders = Folders(self.base / "work" / name, self.volatile / name)
        try:
            for folder in (folders.work, folders.secret):
                folder.mkdir(mode=0o700)
            yield folders
        finally:
            await asyncio.to_thread(remove, folders.secret)
            await asyncio.to_thread(remove, folders.work)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it. Blocking."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
