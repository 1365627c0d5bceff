"""One image into a repository: what is there already is not sent again, so a copy that was cut off just goes on.

Whether what is there is whole nobody asks then. `again` sends everything anew, and so mends what is damaged or lost.

Blobs first, then the manifests that refer to them, children before their index, the tag last: who pulls meanwhile sees
the old image or the whole new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Protocol

from lumper.errors import ArchiveError, LumperError, RemoteError, RemoteNotFound
from lumper.model.images.image import Link, beside, digest_of, is_digest
from lumper.registry.manifest_format import DOCKER_LIST, OCI_INDEX
from lumper.registry.remote.connection import pause_before
from lumper.registry.remote.registry import Document, RemoteRegistry
from lumper.registry.transfer.source import Source, child_for

_PARALLEL = 4  # blobs on their way
_MOST_MANIFESTS = 10_000
_DEEPEST = 8  # indexes in indexes, referrers of referrers
_TRIES = 3


class Watcher(Protocol):
    """Is told how a copy goes on."""

    def found(self, digest: str, size: int) -> None:
        """A blob of this many bytes belongs to the image."""

    def went(self, digest: str, count: int) -> None:
        """So many more bytes of it were sent; a negative number: it begins again."""

    def done(self, digest: str, how: str) -> None:
        """It is there: it was "sent", "mounted" from another repository, or "there" before."""


@dataclass
class Copied:
    """What a copy did. `sent`, `mounted` and `there` count blobs, `bytes` are those that were sent."""

    digest: str = ""
    manifests: int = 0
    sent: int = 0
    mounted: int = 0
    there: int = 0
    bytes: int = 0


class Copier:
    """Copies images into one registry, and remembers which of its repositories have which blobs.

    With `again`, also what is there already is sent, each blob once.
    """

    def __init__(self, target: RemoteRegistry, *, again: bool = False) -> None:
        self._target = target
        self._again = again
        self._holders: dict[str, str] = {}

    async def copy(
        self,
        source: Source,
        repository: str,
        tag: str,
        watcher: Watcher,
        *,
        platform: str = "",
        referrers: bool = False,
    ) -> Copied:
        """Copy an image, under `tag` ("" for none); with `platform` only that one of an index.

        Raises RemoteError, ArchiveError, NotFound.
        """
        root = await source.root()
        if platform and root.manifest.media_type in (OCI_INDEX, DOCKER_LIST):
            root = await source.manifest(child_for(root, platform))
        work = _Work(source, self._target, repository, watcher, self._holders, referrers=referrers, again=self._again)
        await work.image(root, tag, 0)
        work.copied.digest = root.manifest.digest
        return work.copied


class _Work:
    """One image on its way."""

    def __init__(
        self,
        source: Source,
        target: RemoteRegistry,
        repository: str,
        watcher: Watcher,
        holders: dict[str, str],
        *,
        referrers: bool,
        again: bool,
    ) -> None:
        self.copied = Copied()
        self._again = again
        self._source = source
        self._target = target
        self._repository = repository
        self._watcher = watcher
        self._holders = holders
        self._referrers = referrers
        self._seen: set[str] = set()
        self._unread: dict[str, LumperError] = {}
        self._slots = asyncio.Semaphore(_PARALLEL)

    async def image(self, document: Document, tag: str, depth: int) -> None:
        """Copy a manifest with all below it, and what refers to it."""
        manifest = document.manifest
        self._seen.add(manifest.digest)
        if depth > _DEEPEST or len(self._seen) > _MOST_MANIFESTS:
            text = "The image is nested deeper, or has more parts, than any image has."
            raise ArchiveError(text, hint="Copy those of its parts that you need, each by its digest.")
        if self._again or not await self._has(manifest.digest):
            await self._below(document, depth)
            await self._push(document, tag)
            self.copied.manifests += 1
        else:
            if tag and await self._pointed(tag) not in (manifest.digest, digest_of(document.body)):
                await self._target.push_manifest(self._repository, tag, document)
            if self._referrers:  # what refers to its parts may be new
                await self._children(document, depth)
        if self._referrers:
            for digest in await self._source.referrers(manifest.digest):
                await self._referrer(digest, depth)
            for name, digest in await self._source.beside(manifest.digest) if not beside(tag) else ():
                await self._referrer(digest, depth, name)

    async def _push(self, document: Document, tag: str) -> None:
        """Send a manifest, under its digest alone or a tag as well, by which registries know it by SHA-256 only."""
        digest = document.manifest.digest
        if tag and digest != digest_of(document.body):
            with contextlib.suppress(RemoteError):  # which some registries have of no manifest
                await self._target.push_manifest(self._repository, digest, document)
        listed = await self._target.push_manifest(self._repository, tag or digest, document)
        if not listed:
            await self._target.list_referrer(self._repository, document.manifest)

    async def _children(self, document: Document, depth: int) -> None:
        for link in document.manifest.links:
            if link.manifest:
                await self._child(link.digest, depth)

    async def _below(self, document: Document, depth: int) -> None:
        await self._children(document, depth)
        links = document.manifest.links
        blobs = {link.digest: link for link in links if not link.manifest}
        for link in blobs.values():
            self._watcher.found(link.digest, link.size)
        try:
            async with asyncio.TaskGroup() as group:
                for link in blobs.values():
                    group.create_task(self._blob(link))
        except ExceptionGroup as several:
            raise first_of(several) from several

    async def _child(self, digest: str, depth: int) -> None:
        if digest not in self._seen:
            await self.image(await self._source.manifest(digest), "", depth + 1)

    async def _referrer(self, digest: str, depth: int, tag: str = "") -> None:
        """Where a tag has the list of them, it names also those that were deleted: they are passed over."""
        if is_digest(digest) and digest not in self._seen:
            try:
                document = await self._source.manifest(digest)
            except RemoteNotFound:
                return
            await self.image(document, tag, depth + 1)

    async def _has(self, digest: str) -> bool:
        """Whether the repository has the manifest, and so all below it."""
        return await self._pointed(digest) == digest

    async def _pointed(self, reference: str) -> str:
        try:
            return await self._target.digest(self._repository, reference, to_push=True)
        except RemoteNotFound:
            return ""

    async def _blob(self, link: Link) -> None:
        async with self._slots:
            how = await self._brought(link)
        setattr(self.copied, how, getattr(self.copied, how) + 1)
        self._holders.setdefault(link.digest, self._repository)
        self._watcher.done(link.digest, how)

    async def _brought(self, link: Link) -> str:
        holder = self._holders.get(link.digest, "")
        if not self._again:
            if await self._target.has_blob(self._repository, link.digest, to_push=True):
                return "there"
            url, repository = self._source.place
            holder = repository if url == self._target.url else holder
        elif holder == self._repository:
            return "there"
        if holder and holder != self._repository and await self._mounted(link.digest, holder):
            return "mounted"
        attempt = 0
        while (trouble := await self._sent(link)) is not None:
            attempt += 1
            pause = pause_before(attempt, trouble, replace(self._target.patience, attempts=_TRIES))
            if pause is None:
                raise trouble
            await asyncio.sleep(pause)
            if not self._again and await self._target.has_blob(self._repository, link.digest, to_push=True):
                break  # it took longer to say so than we waited
        self.copied.bytes += link.size
        return "sent"

    async def _sent(self, link: Link) -> LumperError | None:
        """Send a blob; what went wrong. Of a source that fails, the request itself says only that it broke off."""
        try:
            await self._target.push_blob(self._repository, link.digest, link.size, lambda: self._content(link))
        except RemoteError as exc:
            return self._unread.pop(link.digest, exc)
        return None

    async def _mounted(self, digest: str, holder: str) -> bool:
        try:
            return await self._target.mount(self._repository, digest, holder)
        except RemoteError:  # not allowed, or not known: then it is sent
            return False

    async def _content(self, link: Link) -> AsyncIterator[bytes]:
        sent = 0
        try:
            async for chunk in self._source.read(link.digest, link.size):
                sent += len(chunk)
                self._watcher.went(link.digest, len(chunk))
                yield chunk
        except LumperError as exc:
            self._unread[link.digest] = exc
            raise
        finally:
            if sent < link.size:
                self._watcher.went(link.digest, -sent)


def first_of(group: ExceptionGroup[Exception]) -> Exception:
    """One of the errors of several tasks: the others are mostly the same."""
    first: Exception = group
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first
