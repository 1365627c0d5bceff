"""Small files that are stored at the same time: one visit to a thread, and few syncs, for all of them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lumper.registry.storage.disk_sync import MOST_WAITING, whole_disk
from lumper.registry.storage.reserve import Reserve
from lumper.registry.storage.upload_file import write_all
from lumper.registry.storage.write_back import start_write_back
from lumper.system.fsync import sync_folder


@dataclass
class SmallFile:
    """Bytes that are to lie under `target`; `error` is why they do not, once it was tried."""

    target: Path
    data: bytes
    error: OSError | None = None


def store(
    files: Sequence[SmallFile],
    folder: Path,
    make: Callable[[Path], None],
    reserve: Reserve,
    most_waiting: int = MOST_WAITING,
) -> None:
    """Give each file its name: afterwards it survives a power cut, or has its `error`.

    On their way they lie in `folder`; `make` makes a folder that is not there; nothing is taken of `reserve`. Where the
    disk has little else to write, not more than `most_waiting` bytes, several files are synced by syncing all of it.
    """
    name = f"{folder}/put-{secrets.token_hex(16)}"
    ways = [_Way(file, f"{name}-{number}") for number, file in enumerate(files)]
    failure = _failure(partial(reserve.check, sum(len(file.data) for file in files))) or _failure(partial(make, folder))
    for file in files:
        file.error = failure
    with whole_disk(folder, most_waiting) if len(ways) > 1 else nullcontext() as disk:
        for way in ways:
            way.go(partial(way.write, make))
        if disk is None or not disk.sync():
            _sync_each(ways)
        for way in ways:
            way.go(way.publish)
        if disk is None or not disk.sync():
            _sync_folders(ways)
    for way in ways:
        way.end()


class _Way:
    """The way of a file from `source` to its name, which is in the folder `place`."""

    def __init__(self, file: SmallFile, source: str) -> None:
        self.file = file
        self.place = file.target.parent
        self._source = source
        self._descriptor = -1

    def go(self, step: Callable[[], None]) -> None:
        """Take a step, unless one has failed before."""
        if self.file.error is None:
            self.file.error = _failure(step)

    def write(self, make: Callable[[Path], None]) -> None:
        make(self.place)
        self._descriptor = os.open(self._source, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        write_all(self._descriptor, [self.file.data])

    def start(self) -> None:
        start_write_back(self._descriptor, 0, len(self.file.data))

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def publish(self) -> None:
        os.replace(self._source, self.file.target)  # noqa: PTH105 - a Path for it takes longer than renaming

    def end(self) -> None:
        """Leave nothing behind of what was not published."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            if self.file.error is not None:
                with suppress(OSError):  # the first error is the one to tell
                    os.unlink(self._source)  # noqa: PTH108 - it is no Path


def _sync_each(ways: Sequence[_Way]) -> None:
    for way in ways:
        way.go(way.start)
    for way in ways:
        way.go(way.sync)


def _sync_folders(ways: Sequence[_Way]) -> None:
    for place in {way.place for way in ways if way.file.error is None}:
        error = _failure(partial(sync_folder, place))
        for way in ways:
            if way.place == place:
                way.file.error = way.file.error or error


def _failure(step: Callable[[], None]) -> OSError | None:
    try:
        step()
    except OSError as exc:
        return exc
    return None
