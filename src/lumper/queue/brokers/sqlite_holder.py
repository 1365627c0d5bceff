"""Who holds messages of a queue file, and whether they are still alive.

    <queue>-holders/
        <name>   one per process that consumes, locked (flock) for as long as that process lives

The kernel drops the lock the moment the process dies, however it dies, so that its messages can be given to others
without waiting for the end of their lease.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path

from lumper.errors import QueueUnavailable, StorageFull
from lumper.system.file_locks import flocked
from lumper.system.full_disk import no_space_left


class Holder:
    """This process as a holder. Its methods block for moments."""

    def __init__(self, queue: Path) -> None:
        self.name = secrets.token_hex(8)
        self._folder = queue.with_name(queue.name + "-holders")
        self._lock: int | None = None
        self._beginning = threading.Lock()

    def begin(self) -> None:
        """Make known that this process lives; from any thread. Raises QueueUnavailable."""
        with self._beginning:
            if self._lock is None:
                self._lock = self._locked()

    def _locked(self) -> int:
        # Locked before it gets its name: others find it either not at all or locked.
        unfinished = self._folder / f".{self.name}"
        try:
            self._folder.mkdir(exist_ok=True)
            lock = os.open(unfinished, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unfinished.rename(self._folder / self.name)
        except OSError as exc:
            hint = StorageFull.default_hint if no_space_left(exc) else "May Lumper write there?"
            raise QueueUnavailable(f"{self._folder} cannot be used: {exc}.", hint=hint) from exc
        return lock

    def end(self) -> None:
        """Nothing is held any more. Idempotent."""
        if self._lock is not None:
            (self._folder / self.name).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def is_alive(self, name: str) -> bool:
        """Whether the holder of that name still runs."""
        try:
            lock = os.open(self._folder / name, os.O_RDWR)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # its lease tells in the end
        try:
            return not flocked(lock, fcntl.LOCK_EX)
        except OSError:
            return True  # as above
        finally:
            os.close(lock)

    def forget(self, name: str) -> None:
        """Remove what a dead holder left behind."""
        with suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)
