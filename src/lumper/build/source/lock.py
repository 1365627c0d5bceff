"""One fetch at a time for a mirror: a lock that other processes respect, and that survives nothing but its holders.

The lock is flock(2) on a file that git inherits. So a git process that outlives a killed Lumper keeps holding it, and
nobody cleans up under its hands; the next one who comes ends that orphan first.

A second lock, on another file, is shared by all who use a mirror. Whoever gets it alone knows that nobody does.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from lumper.errors import GitUnreachable
from lumper.system.file_locks import flocked

_POLL = 0.05  # seconds


class HeldLock:
    """The lock in our hands. `fd` is what a git process has to inherit."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.note(0)

    def note(self, group: int) -> None:
        """Write down who holds it, and the process group that works for it (0: none), for `_end_orphan`."""
        os.pwrite(self.fd, f"{_place()} {os.getpid()} {group}\n".encode().ljust(160), 0)


@asynccontextmanager
async def hold(path: Path, timeout: float) -> AsyncIterator[HeldLock]:
    """Have the lock. Raises GitUnreachable if somebody else keeps it for more than `timeout` seconds."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            async with asyncio.timeout(timeout):
                while not flocked(fd, fcntl.LOCK_EX):
                    _end_orphan(fd)
                    await asyncio.sleep(_POLL)
        except TimeoutError as exc:
            hint = "It is tried again by itself."
            raise GitUnreachable("Another Lumper process is still fetching this repository.", hint=hint) from exc
        yield HeldLock(fd)
    finally:
        os.close(fd)


@asynccontextmanager
async def in_use(path: Path) -> AsyncIterator[None]:
    """Keep a mirror from being removed; the time of the file tells when it was used last."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not flocked(fd, fcntl.LOCK_SH):  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(_POLL)
        os.utime(fd)
        yield
        os.utime(fd)
    finally:
        os.close(fd)


@contextmanager
def unless_in_use(path: Path) -> Iterator[bool]:
    """Keep others from using a mirror, and tell whether that is so; if not, somebody uses it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield flocked(fd, fcntl.LOCK_EX)
    finally:
        os.close(fd)


def _end_orphan(fd: int) -> None:
    """If the Lumper that took the lock is dead, its git is what still holds it: end that.

    Only within one boot and one PID namespace, where the numbers mean the same. A number that was given to another
    process meanwhile makes the owner look alive, and then nothing is done.
    """
    with contextlib.suppress(ValueError, OSError):
        place, owner, group = os.pread(fd, 160, 0).decode("ascii").split()
        if place == _place() and place != "-" and int(group) > 1 and not _alive(int(owner)):
            os.killpg(int(group), signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _place() -> str:
    """This boot and PID namespace, or "-" where they cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return "-"
