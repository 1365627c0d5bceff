"""OCI layouts (a folder or a tar file) and files of `docker save`, as sources of images.

Source: OCI image-spec 1.1, image-layout.md; Docker Image Specification v1.2, "Combined Image JSON".
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from lumper.errors import ArchiveError, RegistryError, RemoteError
from lumper.model.images.image import beside, digest_of, is_digest, statement_tags
from lumper.registry.manifest_format import OCI_INDEX, OCI_MANIFEST, parsed, read_manifest
from lumper.registry.remote.registry import Document, checked
from lumper.registry.transfer.source import Source
from lumper.registry.transfer.tarfile import Tar

_CHUNK = 1 << 20
_MOST_JSON = 8 << 20
_MOST_LAYERS = 1000
_REF = "org.opencontainers.image.ref.name"
_NAMES = (_REF, "io.containerd.image.name")
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")


class Files(Protocol):
    """Named files, in a folder or in a tar file."""

    path: Path

    def open(self, name: str) -> tuple[BinaryIO, int, int] | None:
        """An open file with the place and size of what has this name in it; None if there is no such thing."""


class FolderFiles:
    """The files below a folder. No link leads out of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = path.resolve()

    def open(self, name: str) -> tuple[BinaryIO, int, int] | None:
        """The file of this name."""
        try:
            found = (self._root / name).resolve(strict=True)
            if not found.is_relative_to(self._root):
                raise ArchiveError(f"{_shown(name)} in {self.path} is a link that leads out of it.")
            descriptor = os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise ArchiveError(f"{_shown(name)} in {self.path} cannot be read: {exc.strerror}.") from exc
        except (ValueError, RuntimeError) as exc:  # no file has such a name; links that lead in a circle
            raise ArchiveError(f"{_shown(name)} in {self.path} cannot be read: {ascii(str(exc))[1:-1][:200]}.") from exc
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise ArchiveError(f"{_shown(name)} in {self.path} is not a file.")
        return os.fdopen(descriptor, "rb", 0), 0, status.st_size


class TarFiles:
    """The files in a tar file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            if file.read(6).startswith(_COMPRESSED):
                raise ArchiveError(f"{path} is compressed.", hint="Decompress it first, such as with `gunzip`.")
            self._tar = Tar(file, path)

    def open(self, name: str) -> tuple[BinaryIO, int, int] | None:
        """The file of this name."""
        member = self._tar.find(name)
        return (self.path.open("rb", 0), member.offset, member.size) if member else None


def open_archive(path: Path, name: str = "") -> Source:
    """The image of this name in a folder or tar file; without a name the only one. Raises ArchiveError."""
    try:
        files: Files = FolderFiles(path) if path.is_dir() else TarFiles(path)
    except OSError as exc:
        raise ArchiveError(f"{path} cannot be read: {exc.strerror}.") from exc
    if index := _json(files, "index.json"):
        return LayoutSource(files, index, name)
    if saved := _json(files, "manifest.json"):
        return SavedSource(files, saved, name)
    raise ArchiveError(f"{path} has neither an index.json nor a manifest.json.")


class LayoutSource:
    """An image in an OCI layout."""

    place = ("", "")

    def __init__(self, files: Files, index: Any, name: str) -> None:
        self._files = files
        self._descriptors = [one for one in _list(files, index, "manifests") if is_digest(str(one.get("digest")))]
        self._subjects: dict[str, list[str]] | None = None
        self._root = _chosen(files, [(str(one["digest"]), _names(one)) for one in self._descriptors], name)

    async def root(self) -> Document:
        """The manifest or index that was asked for."""
        return await self.manifest(self._root)

    async def manifest(self, digest: str) -> Document:
        """A manifest by its digest."""
        return await asyncio.to_thread(self._manifest, digest)

    def _manifest(self, digest: str) -> Document:
        if (file := self._files.open(_blob(digest))) is None:
            hint = "An engine saves the index of all platforms with those alone that it has: take one with --platform."
            raise ArchiveError(f"{self._files.path} lacks the manifest {digest}.", hint=hint)
        file[0].close()
        body = _whole(self._files, _blob(digest))
        if digest_of(body, digest) != digest:
            raise ArchiveError(f"The manifest {digest} in {self._files.path} has another digest.")
        try:
            return Document(read_manifest(body, _told_type(body), digest), body)
        except RegistryError as exc:
            raise ArchiveError(f"{digest} in {self._files.path} is not a manifest: {exc.message}") from exc

    async def read(self, digest: str, size: int) -> AsyncIterator[bytes]:
        """The bytes of a blob, checked."""
        async for chunk in _checked(self._files, _blob(digest), digest, size):
            yield chunk

    async def referrers(self, digest: str) -> list[str]:
        """Those manifests that have this one as their subject: of the layout's index, or of the list that a tag names.

        Source: distribution-spec 1.1, "Referrers Tag Schema"; regclient keeps layouts in that way.
        """
        if self._subjects is None:
            self._subjects = await asyncio.to_thread(self._about)
        return self._subjects.get(digest, [])

    def _about(self) -> dict[str, list[str]]:
        """What refers to each manifest. What is no manifest, or is not there, refers to nothing."""
        found: dict[str, list[str]] = {}
        listed = {str(one["digest"]): _is_list(one) for one in self._descriptors}
        for digest, leads_on in listed.items():
            for document in self._readable([digest]):
                listing = [link.digest for link in document.manifest.links if link.manifest] if leads_on else []
                for one in (document, *self._readable(listing)):
                    if one.manifest.subject:
                        found.setdefault(one.manifest.subject, []).append(one.manifest.digest)
        return found

    def _readable(self, digests: list[str]) -> Iterator[Document]:
        for digest in digests:
            with contextlib.suppress(ArchiveError):
                yield self._manifest(digest)

    async def beside(self, digest: str) -> list[tuple[str, str]]:
        """Those manifests of the layout's index that have such a tag as their name."""
        wanted = statement_tags(digest)
        return [(tag, str(one["digest"])) for one in self._descriptors for tag in _names(one) if tag in wanted]


class SavedSource:
    """An image in a file that `docker save` has written; the manifest is made from what it holds."""

    place = ("", "")

    def __init__(self, files: Files, saved: Any, name: str) -> None:
        self._files = files
        entries = _list(files, {"": saved}, "")
        told = [one.get("RepoTags") for one in entries]
        tags = [[str(tag) for tag in mine] if isinstance(mine, list) else [] for mine in told]
        self._entry = entries[int(_chosen(files, [(str(number), mine) for number, mine in enumerate(tags)], name))]
        self._places: dict[str, str] = {}

    async def root(self) -> Document:
        """The manifest of the image."""
        return await asyncio.to_thread(self._made)

    def _made(self) -> Document:
        config = _whole(self._files, str(self._entry.get("Config")))
        layers = self._entry.get("Layers")
        if not isinstance(layers, list):
            raise ArchiveError(f"The layers in {self._files.path} are not a list.")
        if len(layers) > _MOST_LAYERS:
            raise ArchiveError(f"{self._files.path} has more layers than any image: {len(layers)}.")
        described = [self._described(str(layer)) for layer in layers]
        self._compare(config, described)
        digest = digest_of(config)
        self._places[digest] = str(self._entry["Config"])
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest,
                "size": len(config),
            },
            "layers": described,
        }
        body = json.dumps(manifest, separators=(",", ":")).encode()
        return Document(read_manifest(body, OCI_MANIFEST, digest_of(body)), body)

    def _described(self, name: str) -> dict[str, Any]:
        hashing, size, compressed = hashlib.sha256(), 0, False
        for chunk in _chunks(self._files, name):
            compressed = compressed or (size == 0 and chunk.startswith(b"\x1f\x8b"))
            hashing.update(chunk)
            size += len(chunk)
        digest = f"sha256:{hashing.hexdigest()}"
        self._places[digest] = name
        kind = "application/vnd.oci.image.layer.v1.tar"
        return {"mediaType": kind + "+gzip" if compressed else kind, "digest": digest, "size": size}

    def _compare(self, config: bytes, layers: list[dict[str, Any]]) -> None:
        """The image's config names the digests of its layers in their order, before compression."""
        document = _parsed(self._files, config)
        rootfs = document.get("rootfs") if isinstance(document, dict) else None
        named = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        told = [None if one["mediaType"].endswith("gzip") else one["digest"] for one in layers]
        if not isinstance(named, list) or len(named) != len(told) or not all(map(_fits, told, named)):
            raise ArchiveError(f"The layers in {self._files.path} are not those that its config names.")

    async def manifest(self, digest: str) -> Document:
        """There are no others."""
        raise ArchiveError(f"There is no manifest {digest} in {self._files.path}.")

    async def read(self, digest: str, size: int) -> AsyncIterator[bytes]:
        """The bytes of a layer or of the config, checked."""
        async for chunk in _checked(self._files, self._places[digest], digest, size):
            yield chunk

    async def referrers(self, digest: str) -> list[str]:
        """None: such a file has no room for them."""
        return []

    async def beside(self, digest: str) -> list[tuple[str, str]]:
        """None: such a file has no room for them."""
        return []


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _fits(digest: str | None, named: object) -> bool:
    """Whether a layer may be the one that is named; of a compressed one that is not known."""
    return digest in (None, named)


def _is_list(descriptor: dict[str, Any]) -> bool:
    """Whether its name is that of a list of referrers."""
    return any(beside(name) and name not in statement_tags(beside(name)) for name in _names(descriptor))


def _shown(name: str) -> str:
    return ascii(name)[1:-1][:200]


def _names(descriptor: dict[str, Any]) -> list[str]:
    annotations = descriptor.get("annotations")
    return [str(annotations[key]) for key in _NAMES if key in annotations] if isinstance(annotations, dict) else []


def _chosen(files: Files, named: list[tuple[str, list[str]]], wanted: str) -> str:
    """Which image is wanted, "" for the only one, of all images with their names. Raises ArchiveError.

    Engines from 25 on list an image once for each of its names.
    """
    names = [(image, set(map(_familiar, mine))) for image, mine in named]
    images = {image for image, mine in names if not wanted or _familiar(wanted) in mine}
    if len(images) == 1:
        return images.pop()
    known = ", ".join(sorted({_shown(name) for _, mine in names for name in mine})[:20])
    if not names:
        raise ArchiveError(f"There is no image in {files.path}.")
    if not images:
        hint = f"It has: {known}." if known else "What it has, has no name: leave the name out."
        raise ArchiveError(f"There is no image {_shown(wanted)} in {files.path}.", hint=hint)
    hint = f"Add one as PATH:NAME: {known}." if known else "They have no names: make an archive of the one."
    raise ArchiveError(f"There are {len(images)} images in {files.path}.", hint=hint)


def _familiar(name: str) -> str:
    """The name as people type it: `docker.io/library/alpine:3` is `alpine:3`."""
    return name.removeprefix("docker.io/").removeprefix("library/") if name.startswith("docker.io/") else name


def _chunks(files: Files, name: str) -> Iterator[bytes]:
    found = files.open(name)
    if found is None:
        raise ArchiveError(f"{files.path} lacks {_shown(name)}.")
    file, offset, size = found
    with file:
        file.seek(offset)
        while chunk := file.read(min(_CHUNK, size)):
            size -= len(chunk)
            yield chunk
    if size:
        raise ArchiveError(f"{files.path} is cut off.")


async def _checked(files: Files, name: str, digest: str, size: int) -> AsyncIterator[bytes]:
    async def read() -> AsyncIterator[bytes]:
        chunks = _chunks(files, name)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield chunk

    try:
        async for chunk in checked(read(), digest, size):
            yield chunk
    except RemoteError as exc:
        raise ArchiveError(f"{digest} in {files.path} is not what its digest says.") from exc


def _whole(files: Files, name: str) -> bytes:
    data = b""
    for chunk in _chunks(files, name):
        data += chunk
        if len(data) > _MOST_JSON:
            raise ArchiveError(f"{_shown(name)} in {files.path} is larger than any such document is.")
    return data


def _json(files: Files, name: str) -> Any:
    """The document of this name, None if there is none."""
    found = files.open(name)
    if found is None:
        return None
    found[0].close()
    return _parsed(files, _whole(files, name))


def _parsed(files: Files, body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise ArchiveError(f"A document in {files.path} is not JSON.") from exc


def _list(files: Files, document: Any, key: str) -> list[dict[str, Any]]:
    found = document.get(key) if isinstance(document, dict) else None
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise ArchiveError(f"{files.path} has no list of images.")
    return found


def _told_type(body: bytes) -> str:
    """OCI documents may leave their type to the descriptor; what they hold tells it as well."""
    document = parsed(body)
    if not document or document.get("mediaType"):
        return ""
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST
