"""A program on its way: what it says, who of it says it, in order; and its end, with all that it has started.

Standard output and error are two datagram sockets that end in the same third one. So what was said first is read first,
whichever of the two it went to, and the kernel tells which process said it (unix(7), SO_PASSCRED): words of buildah
itself cannot be mistaken for those of a program in a RUN step, which come by a helper process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lumper.errors import EngineUnavailable

Hear = Callable[[bool, int, bytes], None]
"""Told of everything that is said: whether by the program itself, 1 for output or 2 for error, and the bytes."""

GRACE = 8.0
"""How long, in seconds, a program that was told to end may take to tidy up before everything of it is killed."""

_DATAGRAM = 1 << 20  # bytes; more than a socket's buffer lets anybody send at once
_AT_ONCE = 256  # messages that are read before other tasks have their turn
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_POLL = 0.05  # seconds; nothing tells of the end of a process that is not our child
_HELPERS = (b"buildah-oci-runtime", b"buildah-chroot-runtime")


@dataclass(frozen=True)
class Finished:
    """How a short command ended."""

    code: int
    output: bytes
    words: str


class Program:
    """Starts a program, always with these first arguments and this environment; `hint` helps where it is missing."""

    def __init__(self, start: Sequence[str], environment: Mapping[str, str], name: str, hint: str = "") -> None:
        self._hint = hint
        self._start = tuple(start)
        self._environment = dict(environment)
        self._name = name

    async def run(self, *arguments: str) -> Finished:
        """Run a short command to its end. Raises EngineUnavailable where there is no such program."""
        process = await self._process(arguments, asyncio.subprocess.PIPE, asyncio.subprocess.PIPE)
        try:
            output, words = await process.communicate()
        finally:
            await end(process)
        return Finished(process.returncode or 0, output, words.decode("utf-8", "replace").strip())

    async def attend(self, arguments: Sequence[str], hear: Hear, stdin: int = asyncio.subprocess.DEVNULL) -> int:
        """Run a command that talks; its exit code. Being cancelled ends it. Raises EngineUnavailable."""
        async with _voices(hear) as (output, error):
            process = await self._process(arguments, output.fileno(), error.fileno(), stdin)
            output.close()
            error.close()
            try:
                return await process.wait()
            finally:
                await end(process)

    async def _process(
        self, arguments: Sequence[str], output: int, error: int, stdin: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self._start,
                *arguments,
                stdin=stdin,
                stdout=output,
                stderr=error,
                env=self._environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as exc:
            raise self.unavailable(f"{self._start[0]}: {exc.strerror}") from exc

    def unavailable(self, why: str) -> EngineUnavailable:
        """The error that says that the program does not work here."""
        text = f"The build engine at {self._name} cannot be reached: {why.rstrip('.')}."
        return EngineUnavailable(text, hint=self._hint)


@asynccontextmanager
async def _voices(hear: Hear) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """Sockets to be the output and the error of a program; on leaving, everything that was said has been heard."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        ear = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        ear.bind("")  # Linux gives it an abstract name
        mouths = [stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) for _ in range(2)]
        for mouth in mouths:
            mouth.bind("")
            mouth.connect(ear.getsockname())
        listening = _Listening(ear, {mouth.getsockname(): n for n, mouth in enumerate(mouths, 1)}, hear)
        loop.add_reader(ear, listening.some)
        try:
            yield mouths[0], mouths[1]
            while listening.some():
                pass
        finally:
            loop.remove_reader(ear)


class _Listening:
    def __init__(self, ear: socket.socket, streams: Mapping[object, int], hear: Hear) -> None:
        self._ear = ear
        self._streams = streams
        self._hear = hear
        self._speaker = 0

    def some(self) -> bool:
        """Read what there is, within bounds; whether there may be more."""
        for _ in range(_AT_ONCE):
            try:
                data, extra, _, sender = self._ear.recvmsg(_DATAGRAM, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return False
            stream = self._streams.get(sender)
            if stream is None or not extra:  # an abstract name can be called by anybody on this machine
                continue
            pid = int(_CREDENTIALS.unpack(extra[0][2])[0])
            self._speaker = self._speaker or pid  # nothing is executed before buildah has said so
            self._hear(pid == self._speaker, stream, data)
        return True


async def end(process: asyncio.subprocess.Process, grace: float = GRACE) -> None:
    """End a program with all that it has started. Nothing of it runs after.

    First it is asked to, so that it tidies up, for which it has `grace` seconds.
    """
    known = _descendants(process.pid)
    try:
        if process.returncode is None:
            await _ask_to_end(process, known, grace)
    finally:
        known |= _descendants(process.pid)
        for pid, begun in known.items():
            _signal(pid, begun, signal.SIGKILL)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    await process.wait()
    while any(_begun(pid) == begun for pid, begun in known.items()):  # noqa: ASYNC110 (the kernel sets no event)
        await asyncio.sleep(_POLL)


async def _ask_to_end(process: asyncio.subprocess.Process, known: dict[int, str], grace: float) -> None:
    """Have the helper of a RUN step end, upon which buildah fails the step and tidies up; without one, the program.

    Each is asked once: programs take a second time for haste.
    """
    asked: set[int] = set()
    waiting = asyncio.ensure_future(process.wait())
    try:
        async with asyncio.timeout(grace):
            while not waiting.done():
                known |= _descendants(process.pid)
                helpers = [pid for pid in known if _title(pid) in _HELPERS]
                for pid in set(helpers or (process.pid,)) - asked:
                    asked.add(pid)
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGTERM)
                await asyncio.wait((waiting,), timeout=_POLL * 10)
    except TimeoutError:
        pass
    finally:
        waiting.cancel()
        await asyncio.wait((waiting,))


def end_orphans(home: Path) -> None:
    """End the programs with this HOME, and all that they have started. Blocking.

    They are those of a worker that was killed, if nobody uses the place of that home.
    """
    known: dict[int, str] = {}
    found = _with_home(home)
    while found:  # all stand still before the first of them ends: none sees that, and none starts another meanwhile
        for pid, begun in found.items():
            _signal(pid, begun, signal.SIGSTOP)
        known |= found
        below = {pid: begun for root in found for pid, begun in _descendants(root).items()}
        found = {pid: begun for pid, begun in below.items() if pid not in known}
    for pid, begun in known.items():
        _signal(pid, begun, signal.SIGKILL)


def _with_home(home: Path) -> dict[int, str]:
    mark = b"\0HOME=" + str(home).encode() + b"\0"
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            pid = int(path.parent.name)
            if mark in b"\0" + path.read_bytes() and (begun := _begun(pid)):
                found[pid] = begun
    return found


def _signal(pid: int, begun: str, which: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if begun and _begun(pid) == begun:
            os.kill(pid, which)


def _descendants(root: int) -> dict[int, str]:
    """All processes below this one, each with when it began, which tells it from a later one of its number."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = path.read_text("latin-1").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, below = [], list(parents.get(root, ()))
    while below:
        pid = below.pop()
        found.append(pid)
        below += parents.get(pid, ())
    return {pid: begun for pid in found if (begun := _begun(pid))}


def _begun(pid: int) -> str:
    """When a process began, "" if it has ended: proc_pid_stat(5), fields state and starttime."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return b""
