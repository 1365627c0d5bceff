"""What lies where in the data folder: everything that Lumper keeps.

<data>/                      mode 0700
  lumper.db                  history: projects, builds, images, rollouts, people
  queue.db                   messages between roles, unless RabbitMQ carries them
  registry/                  blobs of images (drawn in registry/paths.py)
  logs/<build>/<n>.jsonl     logs of builds, one file an attempt
  mirrors/<project>.git      bare mirrors of git repositories
  buildx/                    images that a builder of buildx has built, until they are pushed
  buildah/                   images and caches, where buildah builds (drawn in build/engines/buildah/home.py)
  images/                    images that a buildkitd has built, until they are pushed: an OCI image layout
  arrivals/                  blobs on their way from an upstream registry; a file here has no name
  spool/                     logs on their way from a worker to the server
  layers.json                how a worker's layers came out compressed, and which repositories have them
  mail/                      a maildir: mails that no SMTP server took
  keys/                      tokens.key signs tokens and sessions, signing.pem images; secrets.key seals secrets
  tokens/<role>              API tokens for the roles and for the command line on this machine
  ssh/                       key and known hosts for ssh:// URLs
  server.json                the running server's address
  lock                       held by the running server
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lumper.errors import Conflict, StorageError
from lumper.system.file_locks import flocked
from lumper.system.full_disk import storage_error

CONFIG_FILE = Path("/etc/lumper/lumper.toml")
_PATIENCE = 2.0  # seconds: longer than a command or a server that is ending holds the folder


def default_data() -> Path:
    """The data folder of whoever says nothing else."""
    if os.geteuid() == 0:
        return Path("/var/lib/lumper")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "lumper"


def find_data(environment: Mapping[str, str]) -> Path | None:
    """Find the data folder by the rules of settings.py, but quickly; None where settings.py has to be asked."""
    if "LUMPER_DATA" in environment:
        return Path(environment["LUMPER_DATA"])
    named = environment.get("LUMPER_CONFIG", "")
    try:
        text = Path(named or CONFIG_FILE).read_text("utf-8")
    except FileNotFoundError:
        return None if named else default_data()
    except (OSError, ValueError):
        return None
    import tomllib  # most machines have no such file

    try:
        data = tomllib.loads(text).get("data")
    except tomllib.TOMLDecodeError:
        return None
    if data is None:
        return default_data()
    return Path(data) if isinstance(data, str) else None


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
            raise self._unusable(exc) from exc

    def _unusable(self, exc: OSError) -> StorageError:
        hint = "Choose another one with --data DIR."
        if isinstance(exc, PermissionError):
            with suppress(OSError, KeyError):  # the owner has no name here
                owner = self.root.owner()
                hint = f"Type `sudo -u {owner} lumper …`, or sign in with LUMPER_SERVER and LUMPER_TOKEN_FILE."
                return StorageError(f"The data folder {self.root} is not yours: {owner} may use it.", hint=hint)
        return storage_error(exc, f"The data folder {self.root} cannot be made: {exc.strerror}.", hint=hint)

    @property
    def database(self) -> Path:
        """The SQLite database of the history."""
        return self.root.absolute() / "lumper.db"

    @property
    def database_url(self) -> str:
        """The same as a SQLAlchemy URL."""
        return f"sqlite:///{quote(str(self.database))}"

    @property
    def queue(self) -> Path:
        """The SQLite database of the queue."""
        return self.root / "queue.db"

    @property
    def layers(self) -> Path:
        """What a worker knows of the layers that it has pushed."""
        return self.root / "layers.json"

    def folder(self, name: str) -> Path:
        """One of the folders that the tree above shows."""
        return self.root / name

    def token(self, role: str) -> Path:
        """The file with a role's API token."""
        return self.root / "tokens" / role

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only server on this folder. Raises Conflict if there is another one, and stays, for two seconds."""
        deadline = time.monotonic() + _PATIENCE
        with (self.root / "lock").open("a") as file:
            while not flocked(file.fileno(), fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise Conflict(
                        f"A Lumper server runs already with the data folder {self.root}.",
                        hint="End it first, or choose another folder with --data DIR.",
                    )
                time.sleep(0.02)
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
            with (self.root / "lock").open() as file:
                lives = not flocked(file.fileno(), fcntl.LOCK_SH)  # a killed one's id may be another program's now
            return str(told["url"]) if lives else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""
