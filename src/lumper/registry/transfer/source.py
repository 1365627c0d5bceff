"""What an image can be copied from."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Protocol

from lumper.errors import NotFound, RemoteNotFound
from lumper.model.images.image import statement_tags
from lumper.registry.manifest_format import platform_name
from lumper.registry.remote.registry import Document, RemoteRegistry, checked

_DAMAGED = "The image is damaged there: push it there again, or leave it out."


class Source(Protocol):
    """An image, and all that it refers to. Every method raises RemoteError or ArchiveError."""

    @property
    def place(self) -> tuple[str, str]:
        """The URL of its registry and its repository there; two empty texts for an archive."""

    async def root(self) -> Document:
        """The manifest or index that was asked for."""

    async def manifest(self, digest: str) -> Document:
        """A manifest that another one refers to."""

    def read(self, digest: str, size: int) -> AsyncIterator[bytes]:
        """The bytes of a blob, checked: the last ones come only if all were right."""

    async def referrers(self, digest: str) -> list[str]:
        """The digests of what has this manifest as its subject."""

    async def beside(self, digest: str) -> list[tuple[str, str]]:
        """The tags under which older tools keep signatures and the like of this manifest, with their digests."""


class RemoteSource:
    """An image at a registry. `reference` is a tag or a digest."""

    def __init__(self, registry: RemoteRegistry, repository: str, reference: str) -> None:
        self._registry = registry
        self._repository = repository
        self._reference = reference

    @property
    def place(self) -> tuple[str, str]:
        """The URL of its registry and its repository there."""
        return self._registry.url, self._repository

    async def root(self) -> Document:
        """The manifest or index that was asked for."""
        return await self._registry.manifest(self._repository, self._reference)

    async def manifest(self, digest: str) -> Document:
        """A manifest that another one refers to."""
        try:
            return await self._registry.manifest(self._repository, digest)
        except RemoteNotFound as exc:
            raise self._without(digest) from exc

    async def read(self, digest: str, size: int) -> AsyncIterator[bytes]:
        """The bytes of a blob, checked."""
        try:
            async with self._registry.blob(self._repository, digest) as incoming:
                async for chunk in checked(incoming.chunks, digest, size):
                    yield chunk
        except RemoteNotFound as exc:
            raise self._without(digest) from exc

    def _without(self, digest: str) -> RemoteNotFound:
        text = f"{self._repository} at {self._registry.url} lacks {digest}, which the image refers to."
        return RemoteNotFound(text, hint=_DAMAGED)

    async def referrers(self, digest: str) -> list[str]:
        """The digests of what has this manifest as its subject."""
        return [str(one["digest"]) for one in await self._registry.referrers(self._repository, digest)]

    async def beside(self, digest: str) -> list[tuple[str, str]]:
        """The tags under which older tools keep signatures and the like of this manifest, with their digests."""
        found = []
        for tag in statement_tags(digest):
            with contextlib.suppress(RemoteNotFound):
                found.append((tag, await self._registry.digest(self._repository, tag)))
        return found


def child_for(index: Document, platform: str) -> str:
    """The digest of an index's image for OS/ARCHITECTURE[/VARIANT]. Raises NotFound."""
    there = []
    for child in json.loads(index.body)["manifests"]:
        name = platform_name(child.get("platform"))
        if name == platform or (platform.count("/") == 1 and name.startswith(f"{platform}/")):
            return str(child["digest"])
        there.append(ascii(name)[1:-1][:100])
    known = ", ".join(sorted({name for name in there if name})) or "none that it names"
    raise NotFound(f"The image is not there for the platform {platform}.", hint=f"It is there for: {known}.")
