"""Images and caches in a folder of the worker, as an OCI image layout: other programs read it too.

Source: OCI image-spec 1.1, "Image Layout".

<root>/
  oci-layout                  the version of the layout
  index.json                  what there is, each with its name
  blobs/sha256/<hex>          manifests, configs and layers, named by their digests
  ingest/<random>             blobs that are being written
  lock                        held while names change
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lumper.errors import EngineError
from lumper.model.images.image import is_digest

_NAME = "org.opencontainers.image.ref.name"
_MOST_MANIFEST = 8 << 20
_LEFT = 24 * 3600.0  # seconds after which nobody writes what has no name yet


@dataclass(frozen=True)
class Descriptor:
    """What a layout knows of a blob. `size` is in bytes."""

    media_type: str
    digest: str
    size: int

    def as_json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


class Layout:
    """One folder, made when it is first written to, and shared by the workers that have it. Methods block."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._pins: dict[str, int] = {}
        self._tidied = False

    def path(self, digest: str) -> Path:
        """Where a blob lies. Raises EngineError for what is no SHA-256 digest."""
        if not is_digest(digest) or not digest.startswith("sha256:"):
            raise EngineError(f"{digest[:100]!r} is no digest.")
        return self._root / "blobs/sha256" / digest.removeprefix("sha256:")

    def size(self, digest: str) -> int | None:
        """The size of a blob, None if it is not there."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def begin(self) -> Ingest:
        """A blob to be written."""
        folder = self._root / "ingest"
        folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if not self._tidied:
                self._tidied = True
                self._tidy()
        return Ingest(self, folder / uuid.uuid4().hex)

    def manifest(self, digest: str) -> Mapping[str, Any]:
        """A manifest or an index. Raises EngineError."""
        path = self.path(digest)
        try:
            if path.stat().st_size > _MOST_MANIFEST:
                raise EngineError(f"The manifest {digest} is too large.")
            found = json.loads(path.read_bytes())
        except (OSError, ValueError) as exc:
            raise EngineError(f"The manifest {digest} is not there, or is none.") from exc
        if not isinstance(found, dict):
            raise EngineError(f"The manifest {digest} is none.")
        return found

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._index())

    def find(self, name: str) -> Descriptor | None:
        """What has this name."""
        return self._index().get(name)

    def put(self, name: str, descriptor: Descriptor) -> None:
        """Give what is in the layout a name. What had it before, and has no other, goes."""
        with self._alone():
            index = self._index()
            before = index.get(name)
            index[name] = descriptor
            self._write(index)
            if before is not None and before != descriptor:
                self._sweep(before, index)

    def remove(self, name: str) -> None:
        """Forget a name, and blobs that only it needed. No error if there is none."""
        if not self._root.exists():
            return
        with self._alone():
            index = self._index()
            gone = index.pop(name, None)
            if gone is not None:
                self._write(index)
                self._sweep(gone, index)

    def pin(self, digest: str) -> None:
        """Keep a blob that some build counts on, until it is let go as often. Raises EngineError."""
        self.path(digest)
        with self._lock:
            self._pins[digest] = self._pins.get(digest, 0) + 1

    def let_go(self, digests: Iterable[str]) -> None:
        """The opposite of `pin`, for each of these; what a build has left that failed goes then."""
        with self._alone():
            free = set()
            for digest in digests:
                left = self._pins.pop(digest, 0) - 1
                if left > 0:
                    self._pins[digest] = left
                else:
                    free.add(digest)
            if free:
                self._drop(free, self._index())

    def blobs(self, descriptor: Descriptor) -> Iterator[Descriptor]:
        """All that a manifest or index needs, each before what names it, itself last. Raises EngineError."""
        document = self.manifest(descriptor.digest)
        for child in document.get("manifests") or ():
            yield from self.blobs(_descriptor(child))
        for child in (document.get("config"), *(document.get("layers") or ())):
            if child:
                yield _descriptor(child)
        yield descriptor

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread and no other process changes anything meanwhile."""
        self._root.mkdir(parents=True, exist_ok=True)
        with self._lock, (self._root / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _tidy(self) -> None:
        """Remove what builds that were killed have left."""
        kept = {blob.digest for one in set(self._index().values()) for blob in self._reachable(one)}
        oldest = time.time() - _LEFT
        for path in (*self._root.glob("ingest/*"), *self._root.glob("blobs/sha256/*")):
            with contextlib.suppress(FileNotFoundError):  # another process has been quicker
                if f"sha256:{path.name}" not in kept and path.stat().st_mtime < oldest:
                    path.unlink()

    def _sweep(self, gone: Descriptor, index: Mapping[str, Descriptor]) -> None:
        self._drop({blob.digest for blob in self._reachable(gone)}, index)

    def _drop(self, digests: Set[str], index: Mapping[str, Descriptor]) -> None:
        """Remove those of these blobs that no name and no build needs."""
        kept = {blob.digest for one in set(index.values()) for blob in self._reachable(one)} | self._pins.keys()
        for digest in digests - kept:
            self.path(digest).unlink(missing_ok=True)

    def _reachable(self, descriptor: Descriptor) -> list[Descriptor]:
        try:
            return list(self.blobs(descriptor))
        except EngineError:  # it was not whole: what is left of it is lost
            return [descriptor]

    def _index(self) -> dict[str, Descriptor]:
        try:
            entries = json.loads((self._root / "index.json").read_bytes())["manifests"]
        except FileNotFoundError:
            return {}
        named = ((str(entry.get("annotations", {}).get(_NAME, "")), entry) for entry in entries)
        return {name: _descriptor(entry) for name, entry in named if name}

    def _write(self, index: Mapping[str, Descriptor]) -> None:
        entries = [one.as_json() | {"annotations": {_NAME: name}} for name, one in sorted(index.items())]
        self._root.mkdir(parents=True, exist_ok=True)
        (self._root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        written = self._root / f"index.json.{uuid.uuid4().hex}"
        try:
            written.write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
            written.replace(self._root / "index.json")
        finally:
            written.unlink(missing_ok=True)


class Ingest:
    """A blob that is being written. Commit or discard it."""

    def __init__(self, layout: Layout, path: Path) -> None:
        self._layout = layout
        self._path = path
        self._file: BinaryIO = path.open("xb")
        self._hash = hashlib.sha256()
        self.offset = 0

    def write(self, data: bytes) -> None:
        """Append. Raises OSError; nothing is left to be written later."""
        self._file.write(data)
        self._file.flush()
        self._hash.update(data)
        self.offset += len(data)

    def commit(self, expected: str) -> str:
        """Make it a blob; its digest. Raises EngineError if it is not the expected one."""
        digest = f"sha256:{self._hash.hexdigest()}"
        if expected and digest != expected:
            self.discard()
            raise EngineError(f"The bytes that came for {expected} have another digest.")
        self._file.close()
        target = self._layout.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)
        return digest

    def discard(self) -> None:
        """Forget it. Nothing happens after a commit."""
        if not self._file.closed:
            with contextlib.suppress(OSError):  # it tries once more to write what it could not
                self._file.close()
            self._path.unlink(missing_ok=True)


def _descriptor(entry: Any) -> Descriptor:
    try:
        return Descriptor(str(entry["mediaType"]), str(entry["digest"]), int(entry["size"]))
    except (LookupError, TypeError, ValueError) as exc:
        raise EngineError("A manifest of the build engine has a descriptor that cannot be read.") from exc
