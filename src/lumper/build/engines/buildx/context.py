"""A context as one tar file on disk, which buildx sends as it is.

From a folder it would send only what differs by size and time from what some earlier build sent, of whatever project;
and files of two commits can differ by neither.
"""

from __future__ import annotations

import asyncio
import io
import posixpath
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

from lumper.build.engines.buildx.syntax import without_syntax
from lumper.errors import EngineError

_LINKS = 40  # as many as Linux follows
_MOST_DOCKERFILE = 16 << 20


async def spool(chunks: AsyncIterator[bytes], path: Path) -> None:
    """Write a tar stream to a file. Raises whatever the stream raises."""
    with await asyncio.to_thread(path.open, "xb") as file:
        async for chunk in chunks:
            await asyncio.to_thread(file.write, chunk)


def without_syntax_image(context: Path, dockerfile: str) -> Path:
    """The context, or one beside it whose Dockerfile asks for no syntax image. Blocking. Raises EngineError."""
    try:
        with tarfile.open(context, "r:") as archive:
            member = _find(archive, dockerfile)
            file = archive.extractfile(member) if member is not None and member.size < _MOST_DOCKERFILE else None
            if member is None or file is None:
                return context
            before = file.read()
            after = without_syntax(before)
            return context if after == before else _with(archive, member, after, context.with_suffix(".own.tar"))
    except tarfile.TarError as exc:
        raise EngineError(f"The context cannot be read: {exc}.") from exc


def _find(archive: tarfile.TarFile, path: str) -> tarfile.TarInfo | None:
    members = {posixpath.normpath(member.name): member for member in archive}
    path = posixpath.normpath(path)
    for _ in range(_LINKS):
        found = members.get(path)
        if found is None or not found.issym():
            return found if found is not None and found.isreg() else None
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), found.linkname))
    return None


def _with(archive: tarfile.TarFile, changed: tarfile.TarInfo, content: bytes, path: Path) -> Path:
    with tarfile.open(path, "x:", format=tarfile.PAX_FORMAT) as copy:
        for member in archive:
            if member is changed:
                member.size = len(content)
                copy.addfile(member, io.BytesIO(content))
            else:
                copy.addfile(member, archive.extractfile(member) if member.isreg() else None)
    return path
