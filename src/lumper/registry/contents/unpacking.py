"""What layers are packed with: gzip or zstd, of several members or frames too; little of them is in memory at a time.

Sources: OCI image-spec 1.1, layer.md, media types; RFC 1952 (gzip), RFC 8878 (zstd).
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Any

from lumper.errors import ArchiveError
from lumper.registry.tar import Source

_STEP = 64 << 10
_MOST_READY = 512 << 10  # bytes that one step may unpack to: some zstd is a thousandth of a thousandth
_WINDOW_LOG = 27  # 128 MiB: what zstd itself takes unless it is told otherwise


def unpacked(source: Source, media_type: str) -> Source:
    """The tar stream of a layer. Raises ArchiveError, also while it is read."""
    if media_type.endswith("gzip"):
        return _Unpacked(source, _Gzip)
    if media_type.endswith("zstd"):
        return _Unpacked(source, _Zstd)
    if media_type.endswith(".tar"):
        return source
    raise ArchiveError(f"Layers of the type {media_type[:80]!a} are not read.")


class _Gzip:
    """One member of a gzip stream."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        """Whether it has ended."""
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        """What came after its end, without the zeros that some programs write there."""
        return self._inflate.unused_data.lstrip(b"\0")

    @property
    def needs_input(self) -> bool:
        """Whether it has nothing more to give for what it got."""
        return not self._inflate.unconsumed_tail

    def decompress(self, data: bytes, most: int) -> bytes:
        """What comes next, at most `most` bytes."""
        try:
            return self._inflate.decompress(data or self._inflate.unconsumed_tail, most)
        except zlib.error as exc:
            raise ArchiveError(f"The layer cannot be unpacked: {exc}.") from exc


class _Zstd:
    """One frame of a zstd stream."""

    def __init__(self) -> None:
        zstd = _zstd()
        self._error = zstd.ZstdError
        self._frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})

    @property
    def eof(self) -> bool:
        """Whether it has ended."""
        return bool(self._frame.eof)

    @property
    def unused_data(self) -> bytes:
        """What came after its end."""
        return bytes(self._frame.unused_data)

    @property
    def needs_input(self) -> bool:
        """Whether it has nothing more to give for what it got."""
        return bool(self._frame.needs_input)

    def decompress(self, data: bytes, most: int) -> bytes:
        """What comes next, at most `most` bytes."""
        try:
            return bytes(self._frame.decompress(data, most))
        except self._error as exc:
            raise ArchiveError(f"The layer cannot be unpacked: {exc}.") from exc


def _zstd() -> Any:
    """The module of Python 3.14, or what it was made of."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


class _Unpacked:
    """The bytes of one part after the other."""

    def __init__(self, source: Source, part: Callable[[], _Gzip | _Zstd]) -> None:
        self._source = source
        self._new = part
        self._part = part()
        self._ready = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end. Raises ArchiveError."""
        while not self._ready:
            packed = b""
            if self._part.eof:
                packed = self._part.unused_data or self._source.read(_STEP)
                if not packed.strip(b"\0"):
                    return b""
                self._part = self._new()
            elif self._part.needs_input and not (packed := self._source.read(_STEP)):
                return b""
            self._ready = memoryview(self._part.decompress(packed, _MOST_READY))
        found, self._ready = bytes(self._ready[:size]), self._ready[size:]
        return found
