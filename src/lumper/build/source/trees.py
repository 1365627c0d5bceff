"""Trees that no commit has: that of a commit with other folders and files in some places.

They are written into the mirror as git's own objects, so that whatever reads a commit reads them too.
Format: gitformat tree objects, `mode SP name NUL id`, sorted as git does (a folder as if its name ended with a slash).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lumper.build.source.git import Git
from lumper.build.source.objects import Objects

FOLDER = b"40000"


@dataclass(frozen=True)
class Put:
    """What comes to a place: an object that a mirror has, with its mode."""

    mode: bytes
    id: str


async def replaced(objects: Objects, git: Git, mirror: Path, root: str, puts: Mapping[str, Put]) -> str:
    """The id of the tree `root` with `puts` instead of what lies at their paths. Raises SourceError."""
    if not puts:
        return root
    below: dict[str, dict[str, Put]] = {}
    for path, put in puts.items():
        name, _, rest = path.partition("/")
        below.setdefault(name, {})[rest] = put
    entries = []
    for name, entry in (await objects.tree(root)).items():
        put = Put(entry.mode, entry.id)
        if within := below.get(name):
            put = within.get("") or Put(entry.mode, await replaced(objects, git, mirror, entry.id, within))
        entries.append((name.encode("utf-8", "surrogateescape"), put))
    output = await git.run(mirror, "hash-object", "-t", "tree", "-w", "--stdin", data=tree_object(entries))
    return output.decode("ascii").strip()


def tree_object(entries: list[tuple[bytes, Put]]) -> bytes:
    """The content of a tree object."""
    ordered = sorted(entries, key=lambda entry: entry[0] + (b"/" if entry[1].mode == FOLDER else b""))
    return b"".join(put.mode + b" " + name + b"\0" + bytes.fromhex(put.id) for name, put in ordered)
