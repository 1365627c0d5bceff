"""Limits of builds: control groups of this machine's kernel, which an engine puts the steps of a build into.

BuildKit limits nothing by itself, but makes the groups of a build's steps within the one that `cgroup-parent` names.
Steps are cached by that name too, so it depends on the image's repository alone; builds of one repository at the same
time, also those of another worker on this machine, share a group, which has room for all of them.

<users>/
  lock                 held while a group is changed
  <group>.<random>     the limits of one build, locked by the worker that runs it: what a killed one left is not
Source: moby/buildkit, frontend/dockerui/config.go (since 0.9); Linux, admin-guide/cgroup-v2, cgroup-v1/memory and
scheduler/sched-bwc.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import socket
import struct
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from lumper.build.port import Limits
from lumper.errors import EngineError
from lumper.system.file_locks import flocked

_KERNEL = Path("/sys/fs/cgroup")
_USERS = Path("/run/lumper/limits")
_OWN = "lumper"
_PERIOD = 100_000  # microseconds in which a group has its share of the CPUs
_SMALLEST_SHARE = 1_000  # the kernel takes no less


class Groups:
    """The groups below `root`, which all workers of this machine share by the folder `users`."""

    def __init__(self, root: Path = _KERNEL, users: Path = _USERS) -> None:
        self._root = root
        self._users = users

    def shared_with(self, path: str) -> bool:
        """Whether the engine that listens on this Unix socket is root among the same groups, and we may make some."""
        needed = [self._root] if self._unified else [self._root / "memory", self._root / "cpu"]
        return bool(path) and all(os.access(each, os.W_OK) for each in needed) and _is_neighbour(path)

    @property
    def _unified(self) -> bool:
        return (self._root / "cgroup.controllers").exists()

    @asynccontextmanager
    async def group(self, repository: str, limits: Limits) -> AsyncIterator[str]:
        """The name of a group with these limits, while the block runs; "" without limits. Raises EngineError."""
        if limits == Limits():
            yield ""
            return
        key = hashlib.sha256(repository.encode()).hexdigest()[:20]
        try:
            with ExitStack() as stack:
                try:
                    stack.enter_context(self._user(key, limits))
                    await asyncio.to_thread(self._settle, key)
                except OSError as exc:
                    text = f"The limits of the build cannot be set in {self._root}: {exc.strerror}."
                    raise EngineError(text) from exc
                yield f"/{_OWN}/{key}"
        finally:
            with suppress(OSError):  # the others' steps may hold more for a moment
                await asyncio.shield(asyncio.to_thread(self._settle, key))

    @contextmanager
    def _user(self, key: str, limits: Limits) -> Iterator[None]:
        """A build that uses the group, for all workers to see."""
        self._users.mkdir(mode=0o700, parents=True, exist_ok=True)
        made, path = self._users / f".{uuid.uuid4().hex}", self._users / f"{key}.{uuid.uuid4().hex}"
        with made.open("x") as file:
            try:
                file.write(f"{limits.memory} {limits.cpus}")
                file.flush()
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                made.rename(path)
                yield
            finally:
                for each in (made, path):
                    each.unlink(missing_ok=True)

    def _settle(self, key: str) -> None:
        """Let the group have room for all who use it; without any, it goes. Blocking."""
        name = f"{_OWN}/{key}"
        self._users.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._users / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            users = [limits for path in self._users.glob(f"{key}.*") if (limits := _used(path))]
            if users:
                self._set(name, _sum(users))
            else:
                self._remove(name)

    def _set(self, name: str, limits: Limits) -> None:
        share = max(_SMALLEST_SHARE, round(limits.cpus * _PERIOD)) if limits.cpus else 0
        if self._unified:
            for above in (self._root, self._root / _OWN):
                above.mkdir(exist_ok=True)
                (above / "cgroup.subtree_control").write_text("+memory +cpu")
            group = _made(self._root / name)
            (group / "memory.max").write_text(str(limits.memory or "max"))
            with suppress(FileNotFoundError):  # a kernel without swap
                (group / "memory.swap.max").write_text("0" if limits.memory else "max")
            (group / "cpu.max").write_text(f"{share or 'max'} {_PERIOD}")
            return
        _set_memory(_made(self._root / "memory" / name), limits.memory or -1)
        group = _made(self._root / "cpu" / name)
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(share or -1))

    def _remove(self, name: str) -> None:
        """Remove the group from every hierarchy; what still runs keeps its own."""
        for hierarchy in [self._root] if self._unified else self._hierarchies():
            for folder, _, _ in os.walk(hierarchy / name, topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()

    def _hierarchies(self) -> Iterator[Path]:
        return (each for each in self._root.iterdir() if each.is_dir() and not each.is_symlink())


def _used(path: Path) -> Limits | None:
    """The limits of a build that goes on, None for one that is left of a killed worker: it is removed."""
    with suppress(FileNotFoundError), path.open() as file:
        if not flocked(file.fileno(), fcntl.LOCK_EX):
            memory, cpus = file.read().split()
            return Limits(int(memory), float(cpus))
        path.unlink(missing_ok=True)
    return None


def _made(group: Path) -> Path:
    group.mkdir(parents=True, exist_ok=True)
    return group


def _set_memory(group: Path, limit: int) -> None:
    """Memory alone may never be more than memory with swap, whichever of the two is changed first."""
    both = [file for file in (group / "memory.limit_in_bytes", group / "memory.memsw.limit_in_bytes") if file.exists()]
    for file in reversed(both):
        with suppress(OSError):
            file.write_text(str(limit))
    for file in both:
        file.write_text(str(limit))


def _sum(several: Sequence[Limits]) -> Limits:
    """The limits of all of them together: none, if one has none."""
    memory = sum(each.memory for each in several) if all(each.memory for each in several) else 0
    cpus = sum(each.cpus for each in several) if all(each.cpus for each in several) else 0.0
    return Limits(memory, cpus)


def _is_neighbour(path: str) -> bool:
    """Whether root listens on this socket, in the namespace of groups in which we are ourselves."""
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(5)
            asking.connect(path)
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        process, user, _ = struct.unpack("3i", told)
        same = Path(f"/proc/{process}/ns/cgroup").readlink() == Path("/proc/self/ns/cgroup").readlink()
    except (OSError, AttributeError):  # nobody there, not ours to see, or no Linux
        return False
    return bool(user == 0 and same)
