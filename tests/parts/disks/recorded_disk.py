"""A disk that remembers what it was told and when, so that any power failure of it can be looked at afterwards.

It is a file of FUSE under a loop device: every write and flush that the kernel gives to the disk goes through the
process below, which writes it down before it answers. A real disk may lose what it was given after its last flush, all
or any part of it, and so does `after_power_failure`. It takes root, and Linux with FUSE.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import select
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_BLOCK = 4096  # bytes that a disk writes or loses as a whole
_ENTRY = struct.Struct("<QI")  # offset and size of a write, before its bytes
_FLUSH = (1 << 64) - 1  # the offset of an entry that is a flush
_MOST = 1 << 20  # bytes of one write
_REQUEST = struct.Struct("<IIQQIIIHH")  # fuse_in_header. Source: Linux, include/uapi/linux/fuse.h
_ANSWER = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QIIQQQQQQIIIIIIIIII")
_INIT, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC, _FLUSHED, _DESTROY = (
    26, 3, 4, 14, 15, 16, 17, 18, 20, 25, 38,
)  # fmt: skip
_SILENT = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET have no answer


class Recording:
    """What a disk was told: `disk` is how it is now, `log` how it came to be so."""

    def __init__(self, folder: Path) -> None:
        self.disk = folder / "disk"
        self.log = folder / "log"
        self.empty = folder / "empty"  # as it was before

    @property
    def now(self) -> int:
        """A moment: whatever the disk was told until now came before it."""
        return self.log.stat().st_size

    def moments(self) -> list[int]:
        """After each write and flush, in order."""
        return [end for _, _, _, end in self._entries()]

    def _entries(self) -> Iterator[tuple[int, int, int, int]]:
        """Offset and size of each write, and where its bytes begin and end in the log."""
        with self.log.open("rb") as log:
            while head := log.read(_ENTRY.size):
                offset, size = _ENTRY.unpack(head)
                begin = log.tell()
                log.seek(size, os.SEEK_CUR)
                yield offset, size, begin, begin + size

    def after_power_failure(self, image: Path, moment: int, kept: float = 0.0, seed: int = 0) -> None:
        """Make the file `image` what the disk has of all until `moment`: the part `kept`, of 1, of what no flush
        followed, chosen by chance, and all else.
        """
        chance = random.Random(seed)
        until = [entry for entry in self._entries() if entry[3] <= moment]
        flushed = max((number for number, entry in enumerate(until) if entry[0] == _FLUSH), default=-1)
        subprocess.run(["cp", "--sparse=always", str(self.empty), str(image)], check=True)
        with self.log.open("rb") as log, image.open("r+b") as file:
            for number, (offset, size, begin, _) in enumerate(until):
                for at in range(0, size if offset != _FLUSH else 0, _BLOCK):
                    if number < flushed or chance.random() < kept:
                        data = os.pread(log.fileno(), min(_BLOCK, size - at), begin + at)
                        os.pwrite(file.fileno(), data, offset + at)


@contextmanager
def in_memory(base: Path = Path("/dev/shm")) -> Iterator[Path]:
    """A new folder for what is recorded."""
    with TemporaryDirectory(dir=base) as name:
        yield Path(name)


def repaired(image: Path) -> Path:
    """The image, after what a machine does with it at its start where there is no journal."""
    subprocess.run(["e2fsck", "-f", "-y", str(image)], check=False, capture_output=True)  # 1: it was not unmounted
    return image


@contextmanager
def recorded(folder: Path, make: list[str], size: int, place: Path) -> Iterator[Recording]:
    """Make a file system by the command `make` on a new disk of `size` bytes, and mount it at the new folder `place`.

    What is kept of it lies in `folder`, which has to be in memory: elsewhere it would wait for the machine's disk.
    """
    recording = Recording(folder)
    with recording.empty.open("xb") as file:
        file.truncate(size)
    subprocess.run([*make, str(recording.empty)], check=True, capture_output=True)
    subprocess.run(["cp", "--sparse=always", str(recording.empty), str(recording.disk)], check=True)
    recording.log.touch()
    with ExitStack() as stack:
        told = stack.enter_context(_told(folder))
        device = _said("losetup", "--find", "--show", "--direct-io=on", str(told))
        stack.callback(_said, "losetup", "--detach", device)
        stack.enter_context(mounted(Path(device), place))
        yield recording


@contextmanager
def mounted(device: Path, place: Path) -> Iterator[Path]:
    """Mount it at the new folder `place`; the kernel does what a journal says. Raises CalledProcessError."""
    place.mkdir()
    _said("mount", *(["-o", "loop"] if device.is_file() else []), str(device), str(place))
    try:
        yield place
    finally:
        _said("umount", str(place))
        place.rmdir()


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def _told(folder: Path) -> Iterator[Path]:
    """The file at which the kernel speaks to the disk."""
    place = folder / "told"
    place.touch()
    process = subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"mounted\n", "FUSE could not be mounted: it takes root"
        yield place
    finally:
        _said("umount", str(place))
        process.wait(60)
        process.stdout.close()


class _Disk:
    """Answers what the kernel asks of the one file."""

    def __init__(self, recording: Recording) -> None:
        self._disk = os.open(recording.disk, os.O_RDWR)
        self._log = os.open(recording.log, os.O_WRONLY | os.O_APPEND)
        self._size = recording.disk.stat().st_size

    def answer(self, kind: int, body: memoryview) -> bytes:
        """Raises OSError for what a file does not have to be able to do."""
        if kind == _INIT:
            return struct.pack(
                "<IIIIHHIIHHII24x", 7, 31, _MOST, 1 << 5 | 1 << 22, 64, 48, _MOST, 1, _MOST >> 12, 0, 0, 0
            )
        if kind in (_GETATTR, _SETATTR):
            times = (0,) * 6
            mode = stat.S_IFREG | 0o600
            return _ATTRIBUTES.pack(1 << 20, 0, 0, 1, self._size, 0, *times, mode, 1, 0, 0, 0, _BLOCK, 0)
        if kind == _OPEN:
            return struct.pack("<QII", 0, 1, 0)  # FOPEN_DIRECT_IO: nothing of it is kept in memory
        if kind == _READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(self._disk, size, offset)
        if kind == _WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            return self._write(offset, body[40 : 40 + size])
        if kind == _FSYNC:
            os.write(self._log, _ENTRY.pack(_FLUSH, 0))
            return b""
        if kind == _STATFS:
            return bytes(80)
        if kind in (_RELEASE, _FLUSHED, _DESTROY):
            return b""
        raise OSError(errno.ENOSYS, "")

    def _write(self, offset: int, data: memoryview) -> bytes:
        entry: list[bytes | memoryview] = [_ENTRY.pack(offset, len(data)), data]
        if os.writev(self._log, entry) != _ENTRY.size + len(data):
            raise OSError(errno.EIO, "")
        os.pwrite(self._disk, data, offset)
        return struct.pack("<II", len(data), 0)


def _serve(folder: Path) -> None:
    """Be the disk until it is unmounted."""
    connection = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={connection},rootmode={stat.S_IFREG | 0o600:o},user_id=0,group_id=0".encode()
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(b"recorded", os.fsencode(folder / "told"), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    print("mounted", flush=True)
    disk, room = _Disk(Recording(folder)), bytearray(_MOST + 65536)
    os.set_blocking(connection, False)
    while requests := _requests(connection, room):
        for kind, number, body in requests:
            try:
                said, failed = disk.answer(kind, memoryview(body)), 0
            except OSError as exc:
                said, failed = b"", -(exc.errno or errno.EIO)
            os.writev(connection, [_ANSWER.pack(_ANSWER.size + len(said), failed, number), said])


def _requests(connection: int, room: bytearray) -> list[tuple[int, int, bytes]]:
    """Kind, number and body of all that is asked by now, flushes first: they promise nothing of what was not answered.

    None if the disk was unmounted.
    """
    found: list[tuple[int, int, bytes]] = []
    while not found:
        select.select([connection], [], [])
        try:
            while size := os.readv(connection, [room]):
                _, kind, number, *_ = _REQUEST.unpack_from(room)
                if kind not in _SILENT:
                    found.append((kind, number, bytes(memoryview(room)[_REQUEST.size : size])))
        except BlockingIOError:
            continue
        except OSError:  # ENODEV
            break
    return sorted(found, key=lambda request: request[0] != _FSYNC)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
