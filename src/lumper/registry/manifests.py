"""Manifests: checked when they come, kept like blobs, answered from memory when they are asked for again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from lumper.errors import Conflict, RegistryError, StorageError
from lumper.logs import get_logger
from lumper.model.images.activity import Actor
from lumper.model.images.image import Link, Manifest, NewManifest, digest_of, is_digest, is_tag
from lumper.registry.blobs import check_digest
from lumper.registry.errors import refuse
from lumper.registry.holds import Holds
from lumper.registry.manifest_format import read_manifest
from lumper.registry.names import Names
from lumper.registry.port import ManifestMetadata, Storage
from lumper.registry.quota import Quotas
from lumper.registry.retention.pulls import Pulls

MAX_BYTES = 4 << 20  # distribution-spec 1.1, "Pushing Manifests": clients may rely on 4 MiB
_QUICKLY_READ = 64 << 10  # bytes
_KEPT_BYTES = 16 << 20

log = get_logger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Manifests:
    """The manifests of all repositories, by tag and by digest."""

    def __init__(
        self, storage: Storage, metadata: ManifestMetadata, holds: Holds, names: Names, quotas: Quotas, pulls: Pulls
    ) -> None:
        self._storage = storage
        self._names = names
        self._quotas = quotas
        self._pulls = pulls
        self._metadata = metadata
        self._holds = holds
        self._kept: OrderedDict[str, bytes] = OrderedDict()  # never stale: a digest has one content
        self._kept_bytes = 0

    async def find(self, repository: str, reference: str) -> Manifest:
        """The manifest that a tag or digest means. Raises RegistryError: MANIFEST_UNKNOWN, DIGEST_INVALID."""
        digest = reference
        if ":" in reference:
            check_digest(reference)
        else:
            tag = await self._metadata.tag(repository, reference) if is_tag(reference) else None
            digest = tag.digest if tag else ""
        if digest:
            await self._holds.asked(repository, digest)
        manifest = await self._metadata.manifest(repository, digest) if digest else None
        if manifest is not None and await self._holds.rely(repository, digest):
            manifest = await self._metadata.manifest(repository, digest)
        if manifest is None or not await self._whole(digest):
            self._holds.not_there(repository, digest)
            raise _unknown(repository, reference)
        self._pulls.note(repository, digest)
        return manifest

    def remembered(self, repository: str, reference: str) -> tuple[Manifest, bytes] | None:
        """What `find` and `content` would say, if all of it is in memory; None: ask them."""
        digest = reference
        if ":" not in reference:
            tag = self._metadata.remembered_tag(repository, reference)
            digest = tag.digest if tag else ""
        manifest, body = self._metadata.remembered_manifest(repository, digest), self._kept.get(digest)
        if manifest is None or body is None or not self._holds.rely_at_once(repository, digest):
            return None
        self._pulls.note(repository, digest)
        return manifest, body

    async def content(self, manifest: Manifest) -> bytes:
        """The bytes of a manifest from `find`. Raises StorageError."""
        body = self._kept.get(manifest.digest)
        return await self._read(manifest.digest) if body is None else body

    async def _whole(self, digest: str) -> bool:
        """Whether the bytes are there: who pushes what was lost or damaged must not be told that it is there."""
        if digest in self._kept:
            return True
        try:
            await self._read(digest)
        except StorageError as exc:
            if not isinstance(exc, _Damaged) and await self._storage.stat(digest) is not None:
                raise
            log.warning("a manifest is lost or damaged", action="registry.manifest", digest=digest, error=exc.message)
            return False
        return True

    async def _read(self, digest: str) -> bytes:
        body = b"".join([chunk async for chunk in self._storage.read(digest)])
        found = await computed(body, digest_of, digest)
        if found != digest:
            raise _Damaged(f"The {len(body)} bytes of {digest} have the digest {found}.")
        self._keep(digest, body)
        return body

    def doubt(self, digest: str) -> None:
        """Ask the storage again for the bytes of this manifest, if it is one."""
        body = self._kept.pop(digest, b"")
        self._kept_bytes -= len(body)

    async def there(self, repository: str, reference: str) -> str:
        """The digest of the manifest that a tag or digest means here, "" if there is none; that is no pull."""
        if is_digest(reference):
            return reference if await self._metadata.manifest(repository, reference) else ""
        tag = await self._metadata.tag(repository, reference) if is_tag(reference) else None
        return tag.digest if tag else ""

    async def put(
        self,
        repository: str,
        reference: str,
        media_type: str,
        body: bytes,
        tags: Sequence[str] = (),
        *,
        actor: Actor,
        expected: str | None = None,
    ) -> NewManifest:
        """Keep a manifest, and let `tags` point at it, or `reference` if that is a tag: all at once, or none.

        A tag `reference` has to point at `expected`, "" for nowhere, None for anywhere. Raises RegistryError:
        MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN, DIGEST_INVALID, MANIFEST_TOO_LARGE, CONDITION_FAILED; RuleForbids for
        an immutable tag or a quota.
        """
        check_reference(reference)
        for tag in tags:
            check_tag(tag)
        if len(body) > MAX_BYTES:
            raise refuse("MANIFEST_TOO_LARGE")
        by_digest = is_digest(reference)
        digest = digest_of(body, reference if by_digest else "sha256:")
        if by_digest and digest != reference:
            raise refuse("DIGEST_INVALID", "The manifest's bytes have another digest.", detail=reference)
        manifest = await computed(body, read_manifest, media_type, digest)
        names, expected = (tags, None) if by_digest else ([reference], expected)
        async with self._holds.using(repository, [digest, *(link.digest for link in manifest.links)]):
            _complain(await self._metadata.missing(repository, manifest.links))
            async with self._quotas.admit(repository, digest, len(body)):
                await self._store(repository, manifest, body, names, actor, expected)
        self._keep(digest, body)
        return manifest

    async def _store(
        self,
        repository: str,
        manifest: NewManifest,
        body: bytes,
        names: Sequence[str],
        actor: Actor,
        expected: str | None,
    ) -> None:
        """First in the storage, then in the metadata; if they refuse it, the storage says again what it said before."""
        async with self._names.pushing(repository, [manifest.digest, *names]):
            await self._names.store(repository, manifest, body, names)
            try:
                await self._metadata.put_manifest(repository, manifest, names, actor, expected=expected)
            except Conflict as exc:  # a tag is elsewhere
                raise refuse("CONDITION_FAILED") from exc

    async def delete(self, repository: str, reference: str, actor: Actor, *, expected: str | None = None) -> None:
        """Remove a tag, which has to point at `expected` (None: anywhere), or a manifest with all its tags.

        Raises RegistryError: MANIFEST_UNKNOWN, DIGEST_INVALID, CONDITION_FAILED.
        """
        if ":" in reference:
            check_digest(reference)
            there = await self._metadata.delete_manifest(repository, reference, actor)
        else:
            there = is_tag(reference) and await self._deleted(repository, reference, actor, expected)
        if not there:
            raise _unknown(repository, reference)

    async def _deleted(self, repository: str, tag: str, actor: Actor, expected: str | None) -> bool:
        try:
            return await self._metadata.delete_tag(repository, tag, actor, expected=expected)
        except Conflict as exc:
            raise refuse("CONDITION_FAILED") from exc

    async def close(self) -> None:
        """Nothing is under way."""

    def _keep(self, digest: str, body: bytes) -> None:
        if digest not in self._kept:
            self._kept[digest] = body
            self._kept_bytes += len(body)
        while self._kept_bytes > _KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)


class _Damaged(StorageError):
    """The bytes are not what their digest says."""


def _unknown(repository: str, reference: str) -> RegistryError:
    kind = "manifest" if ":" in reference else "tag"
    return refuse("MANIFEST_UNKNOWN", f"{repository} has no {kind} {reference}.", detail=reference)


async def computed(
    body: bytes, function: Callable[Concatenate[bytes, _P], _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """What the function gives for these bytes: at once if they are few, else by a thread."""
    if len(body) <= _QUICKLY_READ:
        return function(body, *args, **kwargs)
    return await asyncio.to_thread(function, body, *args, **kwargs)


def check_reference(reference: str) -> None:
    """Raise RegistryError for what cannot name a manifest that is pushed: MANIFEST_INVALID, DIGEST_INVALID."""
    if ":" in reference:
        check_digest(reference)
    else:
        check_tag(reference)


def check_tag(name: str) -> None:
    """Raise RegistryError MANIFEST_INVALID for what is not a tag."""
    if not is_tag(name):
        raise refuse(
            "MANIFEST_INVALID", "A tag has at most 128 letters, digits, and . _ -, and begins with none of . -"
        )


def _complain(missing: Sequence[Link]) -> None:
    if missing:
        raise refuse("MANIFEST_BLOB_UNKNOWN", detail=", ".join(link.digest for link in missing[:20]))
