"""Files in a registry's folder that are none of its own: they are left alone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from lumper.errors import StorageError
from lumper.model.images.image import Name
from lumper.registry.storage.filesystem import FilesystemStorage

DIGEST = f"sha256:{hashlib.sha256(b'x').hexdigest()}"


async def test_only_blobs_are_listed_as_such(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    await storage.put(DIGEST, b"x")
    blobs = tmp_path / "blobs"
    (blobs / "README").write_text("")
    (blobs / "sha256" / "README").write_text("")
    (blobs / "sha256" / DIGEST[7:9] / f".{DIGEST[7:]}.swp").write_text("")

    assert [digest for digest, _, _ in await storage.blobs()] == [DIGEST]


async def test_only_names_are_read_as_such(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    said = Name("a", "v1", DIGEST)
    await storage.note(said)
    names, tags = tmp_path / "names", tmp_path / "names" / "a" / "_tags"
    (tmp_path / "secret").write_text("s3cret")
    (names / "README").write_text("")
    (names / "b").write_text("a file where a folder should be")
    (names / "a" / "_manifests").write_text("another one")
    (names / "linked").symlink_to(names / "a")
    (tags / "linked").symlink_to(tmp_path / "secret")
    (tags / "folder").mkdir()
    (tags / "_manifests").mkdir()
    os.mkfifo(tags / "fifo")
    (names / "_tags" / "_tags").mkdir(parents=True)
    (names / "_tags" / "_tags" / "v1").write_text("of no repository")
    deep = names / Path(*["d" * 100] * 3) / "_tags"
    deep.mkdir(parents=True)
    (deep / "v1").write_text("of a name that is too long")

    assert [name async for page in storage.names() for name, _ in page] == [said]
    for reference in ("linked", "folder"):
        with pytest.raises(StorageError):
            await storage.noted("a", reference)
    assert await storage.noted("a", "fifo") == ""


async def test_of_what_is_too_long_or_no_text_as_much_is_read_as_a_name_says(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    await storage.note(Name("a", "v1", DIGEST))
    (tmp_path / "names" / "a" / "_tags" / "v1").write_bytes(b"\xff" * 2000)

    assert await storage.noted("a", "v1") == "\ufffd" * 512
