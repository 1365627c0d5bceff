"""Build contexts that need nothing pulled: a tar with files and, for `FROM scratch`, Debian's static busybox."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from functools import cache
from pathlib import Path

BUSYBOX = Path("/bin/busybox")  # package busybox-static

BASE = "FROM scratch\nCOPY busybox /bin/sh\n"
"""The beginning of a Dockerfile whose RUN lines are executed by busybox."""


def context_tar(
    files: Mapping[str, bytes | str], busybox: bool = True, links: Mapping[str, str] | None = None
) -> bytes:
    """A tar archive with these files and symbolic links, the same bytes for the same. `busybox` lies at its root."""
    contents = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    if busybox:
        contents["busybox"] = the_busybox()
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, data in sorted(contents.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755 if name.rpartition("/")[2] == "busybox" else 0o644
            archive.addfile(entry, io.BytesIO(data))
        for name, target in sorted((links or {}).items()):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return tar.getvalue()


async def stream(data: bytes, chunk: int = 256 * 1024) -> AsyncIterator[bytes]:
    """The bytes in pieces, as a checkout hands them over."""
    for start in range(0, len(data), chunk):
        yield data[start : start + chunk]


@cache
def the_busybox() -> bytes:
    """The program."""
    return BUSYBOX.read_bytes()
