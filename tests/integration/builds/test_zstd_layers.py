"""Layers packed with zstd, as buildx, buildah and containerd write them."""

from __future__ import annotations

import io
import tarfile

import pytest
from backports import zstd

from lumper.errors import ArchiveError
from lumper.registry.contents import layers
from lumper.registry.contents.layers import Reader

ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
APK = b"P:musl\nV:1.2.5-r0\nA:x86_64\n"
SKIPPED = b"\x50\x2a\x4d\x18\x04\x00\x00\x00toc!"  # a frame without content, as zstd:chunked ends with: RFC 8878, 3.1.2


def tar(**files: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in {"lib/apk/db/installed": APK, **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def names(packed: bytes, kind: str = ZSTD) -> list[str]:
    reader = Reader()
    reader.add(io.BytesIO(packed), kind)
    return [package.name for package in reader.contents.packages]


@pytest.mark.parametrize("kind", [ZSTD, "application/vnd.docker.image.rootfs.diff.tar.zstd"])
def test_one_frame_is_read(kind: str) -> None:
    assert names(zstd.compress(tar()), kind) == ["musl"]


def test_many_frames_and_such_without_content_are_one_layer() -> None:
    plain = tar(more=bytes(range(256)) * 4096)
    frames = [zstd.compress(plain[place : place + 100_000]) for place in range(0, len(plain), 100_000)]
    assert names(SKIPPED.join([b"", *frames, b""])) == ["musl"]


def test_a_bomb_is_not_unpacked_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MOST_UNPACKED", 64 << 20)
    bomb = zstd.compress(tar(zeros=b"\0" * (100 << 20)))
    assert len(bomb) < 20_000
    with pytest.raises(ArchiveError, match="unpacks to more"):
        names(bomb)


def test_a_window_that_takes_too_much_memory_is_refused() -> None:
    parameter = zstd.CompressionParameter
    compressor = zstd.ZstdCompressor(options={int(parameter.window_log): 30, int(parameter.content_size_flag): 0})
    packed = compressor.compress(tar()) + compressor.flush()
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        names(packed)


@pytest.mark.parametrize("junk", [b"junk" * 500, zstd.compress(tar())[:-40] + b"\xff" * 40])
def test_junk_is_no_layer(junk: bytes) -> None:
    with pytest.raises(ArchiveError):
        names(junk)
