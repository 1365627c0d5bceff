"""What lies where in the data folder: everything that Lumper keeps.

<data>/                      mode 0700
  lumper.db                  history: projects, builds, images, rollouts, people
  queue.db                   messages between roles, unless RabbitMQ carries them
  registry/                  blobs of images (drawn in registry/paths.py)
  logs/<build>/<n>.jsonl     logs of builds, one file an attempt
  mirrors/<project>.git      bare mirrors of git repositories
  spool/                     logs on their way from a worker to the server
  mail/                      a maildir: mails that no SMTP server took
  keys/                      the key that signs registry tokens and sessions
  tokens/<role>              API tokens for the roles and for the command line on this machine
  ssh/                       key and known hosts for ssh:// URLs
  server.json                the running server's address
  lock                       held by the running server
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lumper.errors import Conflict, StorageError


@dataclass(frozen=True)
class DataFolder:
    """The data folder and the places in it."""

    root: Path

    def prepare(self) -> None:
        """Make the folder, for its owner only. Raises StorageError."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("logs", "mirrors", "spool", "tokens", "keys", "ssh"):
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise StorageError(
                f"The data folder {self.root} cannot be made: {exc.strerror}.",
                hint="Choose another one with --data DIR.",
            ) from exc

    @property
    def database_url(self) -> str:
        """The SQLite database of the history, as a SQLAlchemy URL."""
        return f"sqlite+aiosqlite:///{self.root.absolute() / 'lumper.db'}"

    @property
    def queue(self) -> Path:
        """The SQLite database of the queue."""
        return self.root / "queue.db"

    def folder(self, name: str) -> Path:
        """One of the folders that the tree above shows."""
        return self.root / name

    def token(self, role: str) -> Path:
        """The file with a role's API token."""
        return self.root / "tokens" / role

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only server on this folder. Raises Conflict if there is one."""
        with (self.root / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise Conflict(
                    f"A Lumper server runs already with the data folder {self.root}.",
                    hint="End it first, or choose another folder with --data DIR.",
                ) from exc
            yield

    @contextmanager
    def announced(self, url: str) -> Iterator[None]:
        """Tell the command line on this machine where the server is, as long as the context lasts."""
        path = self.root / "server.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"url": url, "pid": os.getpid()}))
        fresh.replace(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def server_url(self) -> str:
        """Where the running server is, or "" if none has announced itself (or it was killed)."""
        try:
            told = json.loads((self.root / "server.json").read_text())
            os.kill(told["pid"], 0)
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        return str(told["url"])
