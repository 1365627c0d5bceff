"""The context of a commit as single files, read from git's objects as `git archive` would write them into a tar.

What git would change on the way into an archive, or would refuse, is left to it: then there is only the stream.
"""

from __future__ import annotations

import re
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from lumper.build.context.attributes import ATTRIBUTES, ATTRIBUTES_LIMIT
from lumper.build.context.dockerignore import Ignore
from lumper.build.port import ContextEntry, NotOneByOne
from lumper.build.source.objects import Entry, Kind, Objects
from lumper.errors import MirrorDamaged

_AT_ONCE = 1000  # objects that are asked for together
_MODES = {
    Kind.FOLDER: stat.S_IFDIR | 0o755,
    Kind.SUBMODULE: stat.S_IFDIR | 0o755,
    Kind.LINK: stat.S_IFLNK | 0o777,
    Kind.FILE: stat.S_IFREG | 0o644,
}
_CHANGING = re.compile(rb"crlf|ident|working-tree-encoding|\[attr\]")  # gitattributes(5)
_REFUSED = re.compile(r"\.\.?|(?:\.git|git~1)[ .]*|.*[/\\:\ud800-\udfff].*", re.IGNORECASE | re.DOTALL)


def changes_files(attributes: bytes) -> bool:
    """Whether git could change a file by what an attributes file says. Pure."""
    return bool(_CHANGING.search(attributes))


class CommitFiles:
    """Implements `Files` of build/port.py for the folder with the id `tree`.

    All files have the time `time`. With `folder`, the context lies in that, and the Dockerfile `beside` it at its path.
    """

    def __init__(
        self,
        objects: Objects,
        tree: str,
        time: int,
        ignore: Ignore | None,
        key: str,
        damaged: Callable[[], Awaitable[None]],
        folder: str = "",
        beside: tuple[str, str] | None = None,
    ) -> None:
        self.key = key
        self.time = time
        self._objects = objects
        self._ignore = ignore
        self._damaged = damaged
        self._start = len(folder) + 1 if folder else 0
        self._trees = {folder: tree}
        self._ids: dict[str, str] = {}
        self._listed: dict[str, Mapping[str, ContextEntry]] = {}
        if folder and beside is not None:
            self._put_beside(folder, *beside)

    def _put_beside(self, folder: str, path: str, file: str) -> None:
        *around, name = path.split("/")
        here = ""
        for part in around:
            inner = f"{here}/{part}".strip("/")
            self._listed[here] = {part: ContextEntry(inner, _MODES[Kind.FOLDER], self.time)}
            here = inner
        self._listed[here] = {name: ContextEntry(path, _MODES[Kind.FILE], self.time, content=file)}
        self._listed[""] = {**self._listed[""], folder: ContextEntry(folder, _MODES[Kind.FOLDER], self.time)}
        self._ids[path] = file

    async def folders(self, paths: Sequence[str]) -> list[Mapping[str, ContextEntry]]:
        """What folders have, by name."""
        new = [path for path in dict.fromkeys(paths) if path not in self._listed]
        try:
            trees = await self._objects.trees([self._trees[path] for path in new if path in self._trees])
            for path, tree in zip((path for path in new if path in self._trees), trees, strict=True):
                self._listed[path] = await self._entries(path, tree)
        except MirrorDamaged:
            await self._damaged()
            raise
        return [self._listed.get(path, {}) for path in paths]

    async def _entries(self, path: str, tree: Mapping[str, Entry]) -> Mapping[str, ContextEntry]:
        await self._check(tree)
        inside = {name: f"{path}/{name}" if path else name for name in tree}
        kept = [name for name in tree if await self._stays(inside[name], tree[name])]
        links = [name for name in kept if tree[name].kind is Kind.LINK]
        targets = dict(zip(links, await self._targets([tree[name].id for name in links]), strict=True))
        found = {}
        for name in kept:
            entry = tree[name]
            mode = _MODES[entry.kind] | (0o111 if entry.kind is Kind.FILE and entry.mode[-3:-2] in b"1357" else 0)
            link = targets.get(name, "")
            content = entry.id if entry.kind is Kind.FILE else ""
            found[name] = ContextEntry(
                inside[name], mode, self.time, size=len(link.encode()), link=link, content=content
            )
            self._ids[inside[name]] = entry.id
            if entry.kind is Kind.FOLDER:
                self._trees[inside[name]] = entry.id
        return found

    async def _check(self, tree: Mapping[str, Entry]) -> None:
        """Raises NotOneByOne."""
        attributes = tree.get(ATTRIBUTES)
        if any(map(_REFUSED.fullmatch, tree)) or getattr(tree.get(".gitmodules"), "kind", None) is Kind.LINK:
            raise NotOneByOne
        if attributes is not None and attributes.kind is Kind.FILE:
            if (await self._objects.sizes([attributes.id]))[0] > ATTRIBUTES_LIMIT:
                raise NotOneByOne
            found = await self._objects.get(attributes.id)
            if found is None or changes_files(found[2]):
                raise NotOneByOne

    async def _stays(self, path: str, entry: Entry) -> bool:
        """Whether the ignore file lets the entry be there, or anything in it."""
        if self._ignore is None or not self._ignore.ignores(path[self._start :]):
            return True
        if entry.kind is not Kind.FOLDER or not self._ignore.has_exceptions:
            return False
        tree = await self._objects.tree(entry.id)
        return any([await self._stays(f"{path}/{name}", inner) for name, inner in tree.items()])

    async def _targets(self, ids: Sequence[str]) -> list[str]:
        targets, pieces = list[str](), list[bytes]()
        if not ids:
            return targets
        async with aclosing(self._objects.read(ids)) as reading:
            async for piece in reading:
                pieces.append(piece)
                if not piece:
                    targets.append(b"".join(pieces).decode("utf-8", "surrogateescape"))
                    pieces.clear()
        if any(map(_is_no_text, targets)):
            raise NotOneByOne
        return targets

    async def sized(self, entries: Sequence[ContextEntry]) -> list[ContextEntry]:
        """The same with their sizes."""
        files = [entry.path for entry in entries if stat.S_ISREG(entry.mode)]
        sizes: dict[str, int] = {}
        try:
            for some in _portions(files):
                sizes |= zip(some, await self._objects.sizes([self._ids[path] for path in some]), strict=True)
        except MirrorDamaged:
            await self._damaged()
            raise
        return [replace(entry, size=sizes.get(entry.path, entry.size)) for entry in entries]

    async def read(self, paths: Sequence[str]) -> AsyncGenerator[bytes]:
        """The bytes of these files, in pieces; an empty one ends each file."""
        try:
            for some in _portions(paths):
                async with aclosing(self._objects.read([self._ids[path] for path in some])) as reading:
                    async for piece in reading:
                        yield piece
        except MirrorDamaged:
            await self._damaged()
            raise


def _portions(paths: Sequence[str]) -> list[Sequence[str]]:
    return [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]


def _is_no_text(name: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in name)
