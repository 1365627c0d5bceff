"""Whether a folder is still the one that it was: without its disk everything in it looks as if it had been deleted."""

from __future__ import annotations

from pathlib import Path

from lumper.errors import StorageError
from lumper.registry import paths


class Presence:
    """Looks for the file with the folder's id, once there was one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.expected = False

    def check(self) -> None:
        """Raise StorageError if the file has gone: what is not in the folder then is not known to be nowhere."""
        if self.expected and not paths.identity(self._root).exists():
            raise StorageError(f"The images are not in {self._root} any more.", hint="Is its disk mounted?")
