"""What somebody may have meant who named a file that there is not."""

from __future__ import annotations

import difflib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence

from lumper.build.source.objects import Kind, printable_path

Names = Callable[[str], Awaitable[Mapping[str, Kind]]]
"""From a folder of the repository to what it has; nothing where there is none."""

_FOLDERS = 100  # that are looked into for a Dockerfile
_SHOWN = 3


def near(name: str, names: Sequence[str]) -> str:
    """The name that is most like it, "" if none is.

    >>> near("Confg.yml", ["config.yml", "README"])
    'config.yml'
    """
    lower = {each.lower(): each for each in sorted(names)}
    found = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else ""


async def near_name(names: Names, path: str) -> str:
    """A path that is there and like `path`, at the first part that is wrong; "" if there is none."""
    folder = ""
    for part in (part for part in path.split("/") if part not in ("", ".")):
        there = await names(folder or ".")
        if part not in there:
            found = near(part, list(there))
            return _shown(f"{folder}/{found}") if found else ""
        folder = f"{folder}/{part}"
    return ""


async def hint_for_submodule(names: Names, path: str) -> str:
    """What to write into lumper.toml, where a part of the path is a submodule that was not fetched; else ""."""
    folder = ""
    for part in (part for part in path.split("/") if part not in ("", ".")):
        kind = (await names(folder or ".")).get(part)
        folder = f"{folder}/{part}"
        if kind is Kind.SUBMODULE:
            todo = "set [source] submodules = true in lumper.toml, and see that .gitmodules names it"
            return f"{_shown(folder)} is a submodule, and empty: {todo}."
        if kind is not Kind.FOLDER:
            return ""
    return ""


async def hint_for_dockerfile(names: Names, context: str, dockerfile: str) -> str:
    """What to write into lumper.toml, where there are Dockerfiles of other names or in other folders; else ""."""
    if hint := await hint_for_submodule(names, f"{context}/{dockerfile}"):
        return hint
    found = await _dockerfiles(names, context)
    if not found:
        return ""
    name = near(dockerfile, found) or found[0]
    others = [each for each in found if each != name][: _SHOWN - 1]
    also = f" (or {', '.join(map(_shown, others))})" if others else ""
    return f"There is {_shown(name)}{also}: name it in lumper.toml: [build] dockerfile = {json.dumps(_shown(name))}."


async def _dockerfiles(names: Names, context: str) -> list[str]:
    """Files that look like Dockerfiles in the context, and in the folders directly in it."""
    found, folders = [], []
    for name, kind in (await names(context)).items():
        if kind is Kind.FOLDER:
            folders.append(name)
        elif _is_dockerfile(name):
            found.append(name)
    for folder in folders[:_FOLDERS]:
        there = await names(f"{context}/{folder}")
        found += [f"{folder}/{name}" for name, kind in there.items() if kind is Kind.FILE and _is_dockerfile(name)]
    return found


def _is_dockerfile(name: str) -> bool:
    lower = name.lower()
    return ("dockerfile" in lower or "containerfile" in lower) and not lower.endswith((".dockerignore", ".md"))


def _shown(path: str) -> str:
    return printable_path(path.strip("/"))
