"""What builds of a work tree take from repositories on this machine: commits of submodules, files of Git LFS.

Whoever has cloned a repository has them there, whatever credentials that took, and perhaps nowhere else yet.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from lumper.build.source.git import CHUNK
from lumper.build.source.lfs import Pointer, Received
from lumper.errors import SourceError

Lenders = Callable[[str], tuple[Path, ...]]
"""From a submodule's path, "" for the repository itself, to git's folders that may have what it needs. Blocking."""


def nobody(_: str) -> tuple[Path, ...]:
    """Nothing is lent."""
    return ()


async def lend_files(lenders: Iterable[Path], pointers: Iterable[Pointer], folder: Path) -> None:
    """Have in `folder` those of the files that a lender has: git-lfs(1) keeps them in `lfs/objects` of git's folder."""
    stores = [lender / "lfs" / "objects" for lender in lenders]
    for pointer in pointers if stores else ():
        await asyncio.to_thread(_lend, stores, pointer, folder / pointer.oid)


def _lend(stores: Iterable[Path], pointer: Pointer, to: Path) -> None:
    for store in stores:
        with contextlib.suppress(OSError, SourceError), (store / pointer.place).open("rb") as source:
            with to.open("wb") as target:
                received = Received(pointer, target)
                while (chunk := source.read(CHUNK)) and received.take(chunk):
                    pass
            received.check(to)
            return
