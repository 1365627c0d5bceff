"""What a build context lacks because nobody asked for it, as lines for the log."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lumper.build.source.git import Git
from lumper.build.source.lfs import find_pointers, uses_lfs
from lumper.build.source.objects import Objects, printable_path

_NAMED = 3


async def empty_submodules(
    git: Git, objects: Objects, mirror: Path, root: str, tree: str, environment: Mapping[str, str], asked: bool
) -> list[str]:
    """Submodules in `tree` of the commit's tree `root`; those that were `asked` for are there, if they are named."""
    if ".gitmodules" not in await objects.tree(root):
        return []
    listing = await git.run(mirror, "ls-tree", "-r", "-z", "--full-tree", tree, extra=environment)
    paths = [entry.partition(b"\t")[2] for entry in listing.split(b"\0") if entry.startswith(b"160000 ")]
    if not paths:
        return []
    todo = ".gitmodules does not name them" if asked else "set [source] submodules = true to fetch them"
    return [f"{_counted(len(paths), 'submodule')} empty ({_first(paths)}): {todo}"]


async def only_pointers(
    git: Git, objects: Objects, mirror: Path, root: str, tree: str, environment: Mapping[str, str]
) -> list[str]:
    """Files of Git LFS in `tree` of the commit's tree `root` that are pointers."""
    if not await uses_lfs(objects, root):
        return []
    found = await find_pointers(objects, git, mirror, tree, environment)
    if not found:
        return []
    names = _first([os.fsencode(path) for path, _, _ in found])
    return [f"{_counted(len(found), 'LFS file')} only pointers ({names}): set [source] lfs = true to fetch them"]


def _counted(number: int, what: str) -> str:
    return f"{number} {what} is" if number == 1 else f"{number} {what}s are"


def _first(paths: Sequence[bytes]) -> str:
    names = [printable_path(os.fsdecode(path)) for path in paths[:_NAMED]]
    return ", ".join(names + ["…"] * (len(paths) > _NAMED))
