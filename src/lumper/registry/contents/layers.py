"""From the layers of an image to what is in it, layer by layer, as they lie over each other.

Source: OCI image-spec 1.1, layer.md, "Whiteouts". For a thread: everything here takes its time.
"""

from __future__ import annotations

import posixpath
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from lumper.errors import ArchiveError
from lumper.registry.contents.packages import OS_RELEASE, Package, interesting, os_release, packages_in
from lumper.registry.contents.rpm import RPM_DATABASES, RPM_UNREAD, rpm_packages
from lumper.registry.contents.tar import Source, TarStream

MOST_UNPACKED = 64 << 30  # bytes of one layer
_MOST_FILE = 16 << 20  # bytes of a file that tells of packages
_MOST_DATABASE = 256 << 20  # of rpm's
_MOST_PACKAGES = 100_000
_STEP = 64 << 10
_MOST_READY = 512 << 10
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


@dataclass
class Contents:
    """What was found, by the path that tells of it, and what could not be read."""

    files: dict[str, tuple[Package, ...]] = field(default_factory=dict)
    releases: dict[str, dict[str, str]] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)

    @property
    def packages(self) -> list[Package]:
        """All of them, each once, in order."""
        return sorted({package for some in self.files.values() for package in some})

    @property
    def distribution(self) -> dict[str, str]:
        """What /etc/os-release says."""
        return next((self.releases[path] for path in OS_RELEASE if path in self.releases), {})


class Reader:
    """Reads layer after layer, the lowest first."""

    def __init__(self) -> None:
        self.contents = Contents()
        self._count = 0

    def add(self, source: Source, media_type: str) -> None:
        """Lay the next layer over what was read. Raises ArchiveError."""
        tar = TarStream(unpacked(source, media_type), MOST_UNPACKED)
        fresh, below = Contents(), _ancestors([*self.contents.files, *self.contents.releases, *self.contents.unread])
        gone: set[str] = set()
        for member in tar.members():
            folder, name = posixpath.split(member.path)
            if name == _OPAQUE:
                gone.add(folder)
            elif name.startswith(_WHITEOUT):
                gone.add(posixpath.join(folder, name.removeprefix(_WHITEOUT)))
            elif not member.directory and member.path in below:
                gone.add(member.path)
            if member.file and (interesting(member.path) or member.path in RPM_DATABASES | RPM_UNREAD):
                self._read(tar, member.path, fresh)
        self._lay(fresh, gone)

    def _read(self, tar: TarStream, path: str, fresh: Contents) -> None:
        content = tar.read(_MOST_DATABASE if path in RPM_DATABASES else _MOST_FILE)
        found: tuple[Package, ...] | None = None
        if path in OS_RELEASE and content is not None:
            fresh.releases[path] = os_release(content)
            return
        if path in RPM_DATABASES and content is not None:
            found = rpm_packages(content, path)
        elif path not in RPM_UNREAD and content is not None:
            found = tuple(packages_in(path, content))
        if found is None:
            fresh.unread.add(path)
            return
        self._count += len(found)
        if self._count > _MOST_PACKAGES:
            raise ArchiveError(f"The image has more than {_MOST_PACKAGES} packages.")
        fresh.files[path] = found

    def _lay(self, fresh: Contents, gone: set[str]) -> None:
        under = self.contents
        self.contents = Contents(
            {path: found for path, found in under.files.items() if not _within(path, gone)} | fresh.files,
            {path: found for path, found in under.releases.items() if not _within(path, gone)} | fresh.releases,
            {path for path in under.unread if not _within(path, gone) and path not in fresh.files} | fresh.unread,
        )


def _ancestors(paths: Iterable[str]) -> set[str]:
    """The paths and all folders that they are in."""
    found: set[str] = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = posixpath.dirname(path)
    return found


def _within(path: str, gone: set[str]) -> bool:
    if "" in gone:
        return True
    while path:
        if path in gone:
            return True
        path = posixpath.dirname(path)
    return False


def unpacked(source: Source, media_type: str) -> Source:
    """The tar stream of a layer. Raises ArchiveError, also while it is read."""
    if media_type.endswith(("gzip", "docker.image.rootfs.diff.tar.gzip")):
        return _Gunzip(source)
    if media_type.endswith(".tar"):
        return source
    raise ArchiveError(f"Layers of the type {media_type[:80]!a} are not read.")


class _Gunzip:
    """The bytes of a gzip stream, of several members too (RFC 1952), little of it in memory at a time."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._inflate = zlib.decompressobj(wbits=31)
        self._packed = b""
        self._ready = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end. Raises ArchiveError."""
        while not self._ready:
            if self._inflate.eof:
                self._packed = self._inflate.unused_data or self._source.read(_STEP)
                if not self._packed.strip(b"\0"):
                    return b""
                self._inflate = zlib.decompressobj(wbits=31)
            self._packed = self._packed or self._source.read(_STEP)
            if not self._packed:
                return b""
            self._more()
        found, self._ready = bytes(self._ready[:size]), self._ready[size:]
        return found

    def _more(self) -> None:
        try:
            self._ready = memoryview(self._inflate.decompress(self._packed, _MOST_READY))
        except zlib.error as exc:
            raise ArchiveError(f"The layer cannot be unpacked: {exc}.") from exc
        self._packed = self._inflate.unconsumed_tail
