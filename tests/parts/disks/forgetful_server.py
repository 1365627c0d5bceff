"""A server that leaves out one of the ways in which it has bytes written to the disk: whether anybody would notice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from lumper.cli.entry import main
from lumper.registry.storage.disk_sync import DiskSync
from lumper.store import sqlite
from parts.processes.lumper_process import LumperServer

FORGOTTEN = ("database", "fdatasync", "folders", "syncfs")


class ForgetfulServer(LumperServer):
    """`lumper ROLE` without one of `FORGOTTEN`."""

    forgotten = ""

    def _started(self, settings: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        here = str(Path(__file__).parents[2])
        return subprocess.Popen(
            [sys.executable, __file__, self.forgotten, *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**settings, "PYTHONPATH": here},
            start_new_session=True,
        )


def _forget(what: str) -> None:
    if what == "fdatasync":
        os.fdatasync = _nothing
    elif what == "folders":
        os.fsync = _nothing
    elif what == "syncfs":
        DiskSync.sync = _well  # type: ignore[method-assign]
    elif what == "database":
        sqlite._set_up = partial(_set_up, sqlite._set_up)


def _nothing(fd: Any) -> None:
    pass


def _well(self: DiskSync) -> bool:
    return True


def _set_up(known: Callable[..., None], foreign_keys: str, connection: Any, record: Any) -> None:
    known(foreign_keys, connection, record)
    connection.execute("PRAGMA synchronous=OFF")


if __name__ == "__main__":
    _forget(sys.argv[1])
    del sys.argv[1]
    main()
