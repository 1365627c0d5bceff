"""Which mirrors are kept: those of projects that are built, up to a size in all.

The mirrors of one project, its own and those of its submodules, go together. What is gone is fetched anew when it is
needed, so this is about space and time only.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lumper.build.source.lock import hold, unless_in_use
from lumper.build.source.mirror import remove_mirror, size_of_mirror
from lumper.errors import GitUnreachable
from lumper.logs import get_logger

log = get_logger(__name__)

_DAY = 86_400.0
_PATIENCE = 1.0  # seconds for the end of a git that a killed Lumper left


@dataclass(frozen=True)
class MirrorLimits:
    """How long mirrors are kept that nobody uses, in days, and how many bytes all of them may hold. 0: no limit."""

    days: float = 0.0
    total: int = 0


@dataclass(frozen=True)
class Kept:
    """The mirrors of one project: where they are, their bytes, and when they were used last, in seconds since 1970."""

    project: str
    folders: tuple[Path, ...]
    size: int
    used: float


def kept_mirrors(folder: Path) -> list[Kept]:
    """What is there. Blocking: looks at every file."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*.git")):
        found[path.name.partition(".")[0]].append(path)
    return [
        Kept(project, tuple(paths), sum(map(size_of_mirror, paths)), _used(folder, project, paths))
        for project, paths in found.items()
    ]


def unwanted_mirrors(kept: list[Kept], limits: MirrorLimits, now: float) -> Iterator[Kept]:
    """Those that are too old, and then the ones that were used longest ago until the others have room. Pure."""
    left = sum(each.size for each in kept)
    for each in sorted(kept, key=lambda each: each.used):
        old = limits.days and now - each.used > limits.days * _DAY
        if old or (limits.total and left > limits.total):
            left -= each.size
            yield each


async def prune_mirrors(folder: Path, limits: MirrorLimits) -> int:
    """Remove what is not wanted and not in use; the bytes that became free."""
    freed = 0
    kept = await asyncio.to_thread(kept_mirrors, folder)
    for each in unwanted_mirrors(kept, limits, time.time()):
        if await _removed(folder, each):
            freed += each.size
            days = round((time.time() - each.used) / _DAY, 1)
            log.info("a mirror goes", action="mirror.prune", project=each.project, size=each.size, days=days)
    return freed


def use_file(folder: Path, project: str) -> Path:
    """The file that is locked by all who use the project's mirrors."""
    return folder / f"{project}.used"


async def _removed(folder: Path, kept: Kept) -> bool:
    """Whether it could be removed: nobody uses it, and no git that was left behind writes to it any more."""
    with unless_in_use(use_file(folder, kept.project)) as ours:
        if not ours:
            return False
        async with contextlib.AsyncExitStack() as stack:
            try:
                for path in kept.folders:
                    await stack.enter_async_context(hold(path.with_suffix(".lock"), _PATIENCE))
            except GitUnreachable:
                return False
            for path in kept.folders:
                await asyncio.to_thread(remove_mirror, path)
    return True


def _used(folder: Path, project: str, paths: list[Path]) -> float:
    try:
        return use_file(folder, project).stat().st_mtime
    except FileNotFoundError:  # not used since this file came to be
        return max(path.stat().st_mtime for path in paths)
