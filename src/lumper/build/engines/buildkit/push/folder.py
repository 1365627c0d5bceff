"""Images as the Engine keeps them in its own folder: configs, and layers bit for bit.

By its API an Engine gives out only whole images, with all layers of their bases, which it writes to its disk first. Who
may read its folder, as root may, gets just the layers that are needed. Everything here is read only, named by its
digest, and worth nothing until that digest was compared. Source: moby, `layer/filestore.go`, `image/fs.go`,
`distribution/metadata/v2_metadata_service.go`; vbatts/tar-split, `tar/storage/entry.go`.

<root>/image/overlay2/
  imagedb/content/sha256/<image id>                     the config
  layerdb/sha256/<chain id>/diff                        digest of the layer's tar
  layerdb/sha256/<chain id>/cache-id                    the folder with its files
  layerdb/sha256/<chain id>/tar-split.json.gz           what lies between the files in its tar
  layerdb/sha256/<chain id>/descriptor.json             only of layers that must not be pushed
  distribution/v2metadata-by-diffid/sha256/<diff id>    where the layer was pulled from or pushed to
<root>/overlay2/<cache id>/diff/                        the files
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lumper.model.images.image import digest_of, is_digest

DRIVER = "overlay2"
_MOST_CONFIG = 8 << 20
_PIECE = 1 << 20


class NotThere(Exception):
    """The Engine's folder does not have it, or does not let us read it, or has it otherwise than we know."""


@dataclass(frozen=True)
class FolderLocation:
    """Where the Engine has pushed a layer to or pulled it from. `repository` is HOST/NAME."""

    digest: str
    repository: str


class EngineFolder:
    """The folder of one Engine. Every method blocks, and raises NotThere."""

    def __init__(self, root: Path) -> None:
        self._layers = root / DRIVER
        self._images = root / "image" / DRIVER

    def config(self, image_id: str) -> bytes:
        """The config of an image, whose digest is its id."""
        with _reading():
            body = _named(self._images / "imagedb/content", image_id).read_bytes()
        if len(body) > _MOST_CONFIG or digest_of(body) != image_id:
            raise NotThere(f"{image_id} is not what its name says")
        return body

    def layer(self, chain: Sequence[str], block: int) -> Generator[bytes]:
        """The tar of the last layer of a chain of layers' digests, in blocks of this size."""
        with _reading():
            entry = _named(self._images / "layerdb", chain_id(chain))
            if (entry / "diff").read_text() != chain[-1] or (entry / "descriptor.json").exists():
                raise NotThere(f"{chain[-1]} is not a layer that can be read")
            cache_id = (entry / "cache-id").read_text()
            if not cache_id.isalnum():
                raise NotThere(f"{chain[-1]} lies in another way than we know")
            with _Files(self._layers / cache_id / "diff") as files, gzip.open(entry / "tar-split.json.gz") as records:
                yield from _blocks(_pieces(records, files), block)

    def places(self, diff_id: str) -> list[FolderLocation]:
        """Where a layer was pushed to or pulled from before, newest last."""
        try:
            text = _named(self._images / "distribution/v2metadata-by-diffid", diff_id).read_text()
            found = [FolderLocation(one["Digest"], one["SourceRepository"]) for one in json.loads(text)]
        except (OSError, ValueError, LookupError, TypeError):
            return []
        return [place for place in found if isinstance(place.digest, str) and is_digest(place.digest)]


def chain_id(diff_ids: Sequence[str]) -> str:
    """OCI image-spec 1.1, config.md, "Layer ChainID"."""
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = digest_of(f"{chain} {diff_id}".encode())
    return chain


def _named(folder: Path, digest: str) -> Path:
    if not is_digest(digest):
        raise NotThere(f"{digest!a} is no digest")
    return folder / digest.replace(":", "/")


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError, LookupError, TypeError) as exc:
        raise NotThere(str(exc)) from exc


def _pieces(records: Iterator[bytes], files: _Files) -> Iterator[bytes]:
    for record in records:
        entry = json.loads(record)
        if entry["type"] == 2:
            yield base64.b64decode(entry["payload"])
        elif entry["type"] == 1 and entry.get("size"):
            raw = entry.get("name_raw")
            name = base64.b64decode(raw) if raw else os.fsencode(entry["name"])
            yield from files.read(name, entry["size"])


def _blocks(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= size:
            yield bytes(memoryview(held)[:size])
            del held[:size]
    if held:
        yield bytes(held)


class _Files:
    """The files below a folder. Whoever made the image chose their names, and no link in it is followed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stack = contextlib.ExitStack()
        self._parent: tuple[tuple[bytes, ...], int] = ((), -1)

    def __enter__(self) -> _Files:
        self._parent = ((), os.open(self._root, os.O_RDONLY | os.O_DIRECTORY))
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._parent[1])

    def read(self, name: bytes, size: int) -> Iterator[bytes]:
        """The bytes of a file."""
        *folders, last = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in folders or last == b"..":
            raise NotThere(f"{name!a} leads out of the layer")
        self._enter(tuple(folders))
        descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._parent[1])
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size != size:
                raise NotThere(f"{name!a} is not the file that the layer has")
            while size and (piece := file.read(min(_PIECE, size))):
                size -= len(piece)
                yield piece

    def _enter(self, folders: tuple[bytes, ...]) -> None:
        """Go to a folder. Files come folder by folder, so that most often we are there."""
        if folders == self._parent[0]:
            return
        where = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        for folder in folders:
            try:
                inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=where)
            finally:
                os.close(where)
            where = inner
        os.close(self._parent[1])
        self._parent = (folders, where)
