"""From the layers of an image to what is in it, layer by layer, as they lie over each other.

Source: OCI image-spec 1.1, layer.md, "Whiteouts". For a thread: everything here takes its time.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from lumper.errors import ArchiveError
from lumper.registry.contents.packages import DATABASES, OS_RELEASE, Package, interesting, os_release, packages_in
from lumper.registry.contents.rpm import RPM_DATABASES, RPM_UNREAD, rpm_packages
from lumper.registry.contents.unpacking import unpacked
from lumper.registry.tar import Member, Source, TarStream

MOST_UNPACKED = 64 << 30  # bytes of one layer
_MOST_FILE = 1 << 20  # bytes of a file that tells of a package
_MOST_LIST = 16 << 20  # of one that tells of all
_MOST_DATABASE = 256 << 20  # of rpm's
_MOST_PACKAGES = 100_000
_MOST_TOLD = 16 << 20  # characters of all their names, versions and paths
_MOST_PATH = 1024  # characters of a path that may tell of packages
_MOST_NAMES = 64 << 20  # characters of all such paths, with the folders that they are in
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_NOTHING = "\0"  # no path


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
        self._count = 0  # of packages, and of files that tell of none
        self._told = 0  # characters

    def add(self, source: Source, media_type: str) -> None:
        """Lay the next layer over what was read. Raises ArchiveError."""
        tar = TarStream(unpacked(source, media_type), MOST_UNPACKED)
        fresh, below = Contents(), _ancestors([*self.contents.files, *self.contents.releases, *self.contents.unread])
        gone: set[str] = set()  # of what is below, and nothing else: a layer may remove millions of paths
        for member in tar.members():
            if len(member.path) > _MOST_PATH:
                continue
            removed = _removed(member)
            if removed in below:
                gone.add(removed)
            if member.file and (interesting(member.path) or member.path in RPM_DATABASES | RPM_UNREAD):
                self._read(tar, member.path, fresh)
        self._lay(fresh, gone)

    def _read(self, tar: TarStream, path: str, fresh: Contents) -> None:
        most = _MOST_DATABASE if path in RPM_DATABASES else _MOST_LIST if path in DATABASES else _MOST_FILE
        content = tar.read(most)
        found: tuple[Package, ...] | None = None
        if path in OS_RELEASE and content is not None:
            fresh.releases[path] = os_release(content)
            return
        if path in RPM_DATABASES and content is not None:
            found = rpm_packages(content, path, _MOST_PACKAGES + 1)
        elif path not in RPM_UNREAD and content is not None:
            found = tuple(islice(packages_in(path, content), _MOST_PACKAGES + 1))
        self._count += max(1, len(found or ()))
        self._told += told(found or ())
        check_most(self._count, self._told)
        if found is None:
            fresh.unread.add(path)
        else:
            fresh.files[path] = found

    def _lay(self, fresh: Contents, gone: set[str]) -> None:
        under = self.contents
        self.contents = Contents(
            {path: found for path, found in under.files.items() if not _within(path, gone)} | fresh.files,
            {path: found for path, found in under.releases.items() if not _within(path, gone)} | fresh.releases,
            {path for path in under.unread if not _within(path, gone)} | fresh.unread,
        )
        self._count = sum(max(1, len(found)) for found in self.contents.files.values()) + len(self.contents.unread)
        self._told = sum(map(told, self.contents.files.values()))


def told(packages: Iterable[Package]) -> int:
    """The characters of their names, versions and paths."""
    return sum(len(one.name) + len(one.version) + len(one.source) for one in packages)


def check_most(count: int, characters: int) -> None:
    """Raise ArchiveError for more packages, or files that should tell of some, or more about them, than is kept."""
    if count > _MOST_PACKAGES:
        raise ArchiveError(f"The image has more than {_MOST_PACKAGES} packages, or files that should tell of some.")
    if characters > _MOST_TOLD:
        raise ArchiveError(f"Names, versions and paths of the image's packages have more than {_MOST_TOLD} characters.")


def _removed(member: Member) -> str:
    """The path of what this member hides or replaces in the layers below; a folder replaces nothing."""
    folder, name = posixpath.split(member.path)
    if name == _OPAQUE:
        return folder
    if name.startswith(_WHITEOUT):
        return posixpath.join(folder, name.removeprefix(_WHITEOUT))
    return _NOTHING if member.directory else member.path


def _ancestors(paths: Iterable[str]) -> set[str]:
    """The paths and all folders that they are in, also the root, "". Raises ArchiveError."""
    found, size = {""}, 0
    for path in paths:
        while path not in found:
            found.add(path)
            size += len(path)
            if size > _MOST_NAMES:
                raise ArchiveError(f"The paths that tell of packages have more than {_MOST_NAMES} characters.")
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
