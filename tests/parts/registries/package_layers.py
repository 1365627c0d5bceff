"""Layers in memory with what tells of packages."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping

from lumper.registry.contents.layers import Contents, Reader

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
PLAIN = "application/vnd.oci.image.layer.v1.tar"
DPKG = (
    "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u9\nOther: C\n more\n"
    "\nPackage: removed\nStatus: deinstall ok config-files\nVersion: 1\n"
)
APK = "C:Q1x\nP:musl\nV:1.2.5-r0\nA:x86_64\n\nC:Q1y\nP:zlib\nV:1.3.1-r1\nA:x86_64\n"


def layer(files: Mapping[str, str | bytes | None], *, form: int = tarfile.PAX_FORMAT) -> io.BytesIO:
    """A layer as gzip; None is a link that stands where something else was."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for name, told in files.items():
            entry = tarfile.TarInfo(name)
            content = told.encode() if isinstance(told, str) else told or b""
            entry.size = len(content)
            if told is None:
                entry.type, entry.linkname = tarfile.SYMTYPE, "/elsewhere"
            tar.addfile(entry, io.BytesIO(content))
    return io.BytesIO(gzip.compress(made.getvalue()))


def contents(*files: Mapping[str, str | bytes | None]) -> Contents:
    reader = Reader()
    for some in files:
        reader.add(layer(some), GZIP)
    return reader.contents


def names(found: Contents) -> list[str]:
    return [package.name for package in found.packages]
