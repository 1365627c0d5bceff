"""Where a buildah of ours keeps its things, and who tidies up there.

<base>/                        mode 0700
  storage/                     images and layers, also those that are the cache
  tmp/                         buildah's temporary files, and buildah-cache-<uid>/ of `RUN --mount=type=cache`
  work/<build>/context/        the unpacked context of a build under way
  .config/containers/          settings, beside the machine's: buildah's HOME is <base>
  lock                         shared by all who work; held alone to tidy up
  gate                         passed by all who begin to work; held by who waits to be alone, so that he comes to it
<volatile>/                    in memory, mode 0700
  run/                         buildah's state, which must not outlive the machine's
  tmp                          a link to <base>/tmp: paths of sockets must be short
  <build>/                     credentials and secrets of a build under way
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lumper.build.engines.buildah.storage import Stored, read_storage
from lumper.build.engines.programs.workshop import Workshop, remove
from lumper.system.file_locks import flocked

_REGISTRIES = """\
# Written by Lumper at every start: changes are lost. The machine's own registries.conf counts too.
# What Docker does: names without a host are of Docker Hub, and registries on this machine need no TLS.
unqualified-search-registries = ["docker.io"]
short-name-mode = "disabled"
"""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_POLL = 0.05  # seconds
_POLICY = Path("/etc/containers/policy.json")
_ELSEWHERE = ("dir", "oci", "oci-archive", "docker-archive", "docker-daemon", "ostree", "sif", "tarball")
"""What else than a registry a FROM could name: files of this machine, and images of its other engines."""

_REFUSED, _TAKEN = [{"type": "reject"}], [{"type": "insecureAcceptAnything"}]

_FROM_OPERATOR = (
    *("PATH", "XDG_RUNTIME_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("STORAGE_DRIVER", "STORAGE_OPTS", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"),
    *("BUILDAH_ISOLATION", "BUILDAH_RUNTIME"),
)


class BuildahHome(Workshop):
    """The folders of one engine below `base`."""

    def __init__(self, base: Path) -> None:
        super().__init__(base, "buildah")

    @property
    def arguments(self) -> list[str]:
        """What tells buildah where its images are."""
        return [f"--root={self.base / 'storage'}", f"--runroot={self.volatile / 'run'}"]

    def environment(self, outer: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Everything that buildah may know."""
        return {
            "PATH": os.defpath,
            **{name: outer[name] for name in _FROM_OPERATOR if name in outer},
            "HOME": str(self.base),
            "TMPDIR": str(self.volatile / "tmp"),
            "LC_ALL": "C",
        }

    def prepare(self) -> None:
        """Make the folders and write the settings. Blocking. Raises EngineUnavailable."""
        super().prepare()
        settings = self.base / ".config" / "containers"
        try:
            for folder in (self.base / "tmp", settings / "registries.conf.d"):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not (link := self.volatile / "tmp").is_symlink():
                link.symlink_to(self.base / "tmp")
            _write(settings / "registries.conf.d" / "zz-lumper.conf", _REGISTRIES + "".join(map(_plain, _LOOPBACK)))
            _write(settings / "policy.json", json.dumps(_policy(self.base / "storage"), indent=2))
        except (OSError, ValueError) as exc:
            raise self.unusable(exc) from exc

    @asynccontextmanager
    async def shared(self, waiting: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
        """Nobody tidies up meanwhile. `waiting` is called if somebody does so first, or waits for that."""
        with self._opened("gate") as gate, self._opened("lock") as lock:
            if not flocked(gate, fcntl.LOCK_SH):
                waiting()
                await _have(gate, fcntl.LOCK_SH)
            fcntl.flock(gate, fcntl.LOCK_UN)
            await _have(lock, fcntl.LOCK_SH)
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody is building, of this process or another; then nobody begins to, either."""
        with self._opened("lock") as lock:
            yield flocked(lock, fcntl.LOCK_EX)

    @asynccontextmanager
    async def alone_within(self, seconds: float) -> AsyncIterator[bool]:
        """As `alone`, but those who are building have so long to end, in which nobody else begins."""
        with self._opened("gate") as gate, self._opened("lock") as lock:
            alone = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await _have(gate, fcntl.LOCK_EX)
                    await _have(lock, fcntl.LOCK_EX)
                    alone = True
            yield alone

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        fd = os.open(self.base / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield fd
        finally:
            os.close(fd)

    def stored(self) -> Stored:
        """What the storage holds. Blocking."""
        return read_storage(self.base / "storage")

    def sweep(self) -> None:
        """Remove what builds that were killed have left. Blocking; nobody may be building."""
        for folder in (self.base / "work", self.base / "tmp", self.volatile):
            for path in folder.iterdir():
                if path.name not in ("run", "tmp") and not path.name.startswith("buildah-cache-"):
                    remove(path)


async def _have(fd: int, kind: int) -> None:
    """Wait for a lock in such a way that the wait can be cancelled, and needs no thread."""
    while not flocked(fd, kind):  # noqa: ASYNC110 - other processes set no event
        await asyncio.sleep(_POLL)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_text(text)
    temporary.replace(path)


def _plain(host: str) -> str:
    return f'[[registry]]\nprefix = "{host}"\nlocation = "{host}"\ninsecure = true\n'


def _policy(storage: Path) -> dict[str, Any]:
    """What the machine asks of images, and none but from registries and this storage: containers-policy.json(5)."""
    policy: dict[str, Any] = json.loads(_POLICY.read_text()) if _POLICY.exists() else {"default": _TAKEN}
    local: dict[str, Any] = {name: {"": _REFUSED} for name in _ELSEWHERE}
    local["containers-storage"] = {"": _REFUSED, f"[{storage}]": _TAKEN}
    return {**policy, "transports": {**policy.get("transports", {}), **local}}
