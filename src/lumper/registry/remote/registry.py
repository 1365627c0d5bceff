"""What is done at another registry: manifests and blobs read and written, tags, repositories and referrers listed.

Everything that comes is checked against its digest. Source: OCI distribution-spec 1.1.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import hdrs
from yarl import URL

from lumper.errors import (
    RegistryError,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    RemoteUnavailable,
)
from lumper.model.images.image import NewManifest, digest_of, is_digest, is_repository, is_tag
from lumper.registry.manifest_format import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    read_manifest,
)
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.connection import Connection, RetryPolicy, read_at_most, read_json

_MANIFEST_BYTES = 4 << 20
_LIST_BYTES = 16 << 20
_SMALL_BLOB = 256 << 10
_PAGE = 1000
_PAGES = 100_000
_ACCEPT: dict[str, str] = {hdrs.ACCEPT: ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))}
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
_DIGEST = "Docker-Content-Digest"
_CATALOG = "registry:catalog:*"


@dataclass(frozen=True)
class Document:
    """A manifest with its bytes."""

    manifest: NewManifest
    body: bytes


@dataclass(frozen=True)
class Incoming:
    """A blob on its way. `size` is that of the whole, None if it was not told; `start` is where the chunks begin."""

    size: int | None
    start: int
    chunks: AsyncIterator[bytes]


class RemoteRegistry:
    """A registry elsewhere. Every method raises RemoteError."""

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        auth_host: str = "",
        ca_file: Path | None = None,
        patience: RetryPolicy | None = None,
    ) -> None:
        credentials = credentials or Credentials()
        self._at_once = credentials.at_once
        self.patience = patience or RetryPolicy()
        self._http = Connection(url, credentials, auth_host=auth_host, ca_file=ca_file, patience=self.patience)

    @property
    def url(self) -> str:
        """The registry's URL, without a slash at its end."""
        return str(self._http.url).rstrip("/")

    async def close(self) -> None:
        """End all connections."""
        await self._http.close()

    async def digest(self, repository: str, reference: str, *, to_push: bool = False) -> str:
        """The digest that a tag means, "" if the registry does not tell it by itself. Raises RemoteNotFound.

        Who asks `to_push` is not told what a registry has only as a mirror of another one.
        """
        scope = pushing(repository) if to_push else pulling(repository)
        async with self._manifest("HEAD", repository, reference, scope) as response:
            told = response.headers.get(_DIGEST, "")
        return told if is_digest(told) else ""

    async def manifest(self, repository: str, reference: str) -> Document:
        """A manifest by tag or digest. Raises RemoteNotFound, RemoteInvalid (wrong digest, too large, schema 1)."""
        async with self._manifest("GET", repository, reference, pulling(repository)) as response:
            body = await read_at_most(response, _MANIFEST_BYTES)
            media_type = response.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip()
            told = response.headers.get(_DIGEST, "")
        if media_type.startswith(_SCHEMA_1):  # its digest is not that of its bytes
            text = f"{repository}:{reference} is an image of Docker's schema 1, which is not supported."
            raise RemoteInvalid(text, hint="Pull it with Docker and push it there again; that makes a schema 2 image.")
        wanted = reference if is_digest(reference) else told if is_digest(told) else "sha256:"
        digest = digest_of(body, wanted)
        if is_digest(wanted) and digest != wanted:
            raise RemoteInvalid(f"The manifest that came for {repository}:{reference} has another digest.")
        try:
            return Document(read_manifest(body, media_type, digest), body)
        except RegistryError as exc:
            raise RemoteInvalid(f"{repository}:{reference} at {self.url} is not an image: {exc.message}") from exc

    def _manifest(self, method: str, repository: str, reference: str, scope: str) -> Any:
        target = _manifest_path(repository, reference)
        return self._http.request(method, target, scope, headers=_ACCEPT)

    @asynccontextmanager
    async def blob(self, repository: str, digest: str, start: int = 0) -> AsyncIterator[Incoming]:
        """A blob from byte `start` on, or from its beginning if the registry has no ranges. Raises RemoteNotFound.

        Its digest is for the reader to check: `checked` does so.
        """
        headers: dict[str, str] = {hdrs.RANGE: f"bytes={start}-"} if start else {}
        target = f"/v2/{repository}/blobs/{digest}"
        async with self._http.request("GET", target, pulling(repository), headers=headers) as response:
            begin = start if response.status == 206 else 0
            length = response.content_length
            size = None if length is None else begin + length
            yield Incoming(size, begin, self._chunks(response))

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        with self._http.translated():
            while chunk := await response.content.readany():
                yield chunk

    async def tags(self, repository: str) -> AsyncIterator[str]:
        """All tags. Raises RemoteNotFound."""
        async for tag in self._pages(f"/v2/{repository}/tags/list?n={_PAGE}", pulling(repository), "tags"):
            if is_tag(tag):
                yield tag

    async def tags_page(self, repository: str, last: str, size: int) -> tuple[list[str], bool]:
        """At most `size` tags after `last`, and whether more follow. Raises RemoteNotFound."""
        target = self._http.url.join(URL(f"/v2/{repository}/tags/list")).with_query(n=str(size))
        if last:
            target = target.update_query(last=last)
        async with self._http.request("GET", target, pulling(repository)) as response:
            page = read_json(await read_at_most(response, _LIST_BYTES))
            more = self._link(response) is not None
        names = [name for name in _listed(page, "tags") if isinstance(name, str) and is_tag(name)]
        if len(names) > size or last in names:  # it knows no pages, or not where one begins
            names = sorted(name for name in names if name > last)
            more = len(names) > size
        return names[:size], more and bool(names)

    async def repositories(self) -> AsyncIterator[str]:
        """All repositories that the registry lists."""
        async for name in self._pages(f"/v2/_catalog?n={_PAGE}", _CATALOG, "repositories"):
            if is_repository(name):
                yield name

    async def referrers(self, repository: str, digest: str) -> list[dict[str, Any]]:
        """Descriptors of what refers to a manifest: the API, or the tag that stands for it in older registries.

        All pages together are of at most 16 MiB, or else that raises RemoteInvalid.
        """
        target: URL | None = self._http.url.join(URL(f"/v2/{repository}/referrers/{digest}"))
        found: list[dict[str, Any]] = []
        left = _LIST_BYTES
        try:
            for _ in range(_PAGES):
                if target is None:
                    return found
                async with self._http.request("GET", target, pulling(repository)) as response:
                    if response.content_type != OCI_INDEX:  # a page for people, to which some lead whom they do not get
                        return await self._referrers_by_tag(repository, digest)
                    body = await read_at_most(response, left)
                    target = self._next(response, target)
                left -= len(body)
                found += _descriptors(read_json(body))
        except RemoteError as exc:
            if type(exc) not in (RemoteError, RemoteNotFound):
                raise
            return await self._referrers_by_tag(repository, digest)
        return found

    async def _referrers_by_tag(self, repository: str, digest: str) -> list[dict[str, Any]]:
        """distribution-spec 1.1, "Referrers Tag Schema"."""
        try:
            document = await self.manifest(repository, referrers_tag(digest))
        except RemoteNotFound:
            return []
        return _descriptors(read_json(document.body)) if document.manifest.media_type == OCI_INDEX else []

    async def _pages(self, path: str, scope: str, key: str) -> AsyncIterator[str]:
        target: URL | None = self._http.url.join(URL(path))
        for _ in range(_PAGES):
            if target is None:
                return
            async with self._http.request("GET", target, scope) as response:
                page = read_json(await read_at_most(response, _LIST_BYTES))
                target = self._next(response, target)
            for name in _listed(page, key):
                if isinstance(name, str):
                    yield name

    def _next(self, response: aiohttp.ClientResponse, asked: URL) -> URL | None:
        """The next page. It is asked with our credentials, so it is at the registry's own origin."""
        url = self._link(response)
        if url is not None and (url.origin() != self._http.url.origin() or url == asked):
            raise RemoteInvalid(f"{self.url} has its next page elsewhere.")
        return url

    def _link(self, response: aiohttp.ClientResponse) -> URL | None:
        """Where the next page is said to be, RFC 8288. Raises RemoteInvalid for what is no address."""
        try:
            link = response.links.get("next")
            url = None if link is None else URL(str(link["url"]))
        except ValueError as exc:
            raise RemoteInvalid(f"{self.url} has its next page at an address that is none.") from exc
        if url is not None and not url.host:
            raise RemoteInvalid(f"{self.url} has its next page at an address that is none.")
        return url

    async def has_blob(self, repository: str, digest: str, *, to_push: bool = False) -> bool:
        """Whether the repository has the blob; `to_push` as for `digest`."""
        return await self.blob_size(repository, digest, to_push=to_push) is not None

    async def blob_size(self, repository: str, digest: str, *, to_push: bool = False) -> int | None:
        """The bytes of a blob, 0 if the registry does not tell; None if the repository does not have it."""
        scope = pushing(repository) if to_push else pulling(repository)
        try:
            async with self._http.request("HEAD", f"/v2/{repository}/blobs/{digest}", scope) as response:
                return response.content_length or 0
        except RemoteNotFound:
            return None

    async def mount(self, repository: str, digest: str, source: str) -> bool:
        """Let the repository have a blob of another one at the same registry; whether that was done."""
        target = f"/v2/{repository}/blobs/uploads/?mount={quote(digest, safe='')}&from={quote(source, safe='')}"
        scope = f"{pushing(repository)} {pulling(source)}"
        async with self._http.request("POST", target, scope) as response:
            if response.status == 201:
                return True
            upload = self._http.location(response, response.url) if hdrs.LOCATION in response.headers else None
        if upload is not None:
            await self._cancel(repository, upload)
        return False

    async def push_blob(
        self, repository: str, digest: str, size: int, content: Callable[[], AsyncIterator[bytes]]
    ) -> None:
        """Send a blob of `size` bytes; `content` is called anew for every request that sends it."""
        target, scope = f"/v2/{repository}/blobs/uploads/", pushing(repository)
        headers: dict[str, str] = {hdrs.CONTENT_LENGTH: str(size), hdrs.CONTENT_TYPE: "application/octet-stream"}
        if self._at_once and 0 < size <= _SMALL_BLOB:
            whole = f"{target}?digest={quote(digest, safe='')}"
            async with self._http.request("POST", whole, scope, headers=headers, body=content) as response:
                if response.status == 201:
                    return
                upload = self._http.location(response, response.url)
        else:
            async with self._http.request("POST", target, scope) as response:
                upload = self._http.location(response, response.url)
        try:
            finish = upload.update_query(digest=digest)
            async with self._http.request(
                "PUT", finish, scope, headers=headers, body=content if size else b"", tries=1
            ):
                return
        except (RemoteError, asyncio.CancelledError):
            await self._cancel(repository, upload)
            raise

    async def push_stream(self, repository: str, content: AsyncIterator[bytes], digest: Callable[[], str]) -> None:
        """Send a blob whose digest is known when all its bytes are. It is not tried again: `content` comes once."""
        async with self._http.request("POST", f"/v2/{repository}/blobs/uploads/", pushing(repository)) as response:
            upload = self._http.location(response, response.url)
        headers: dict[str, str] = {hdrs.CONTENT_TYPE: "application/octet-stream"}
        try:
            async with self._http.request(
                "PATCH", upload, pushing(repository), headers=headers, body=lambda: content, tries=1
            ) as response:
                upload = self._http.location(response, response.url)
            finish = upload.update_query(digest=digest())
            async with self._http.request("PUT", finish, pushing(repository), body=b""):
                return
        except (RemoteError, asyncio.CancelledError):
            await self._cancel(repository, upload)
            raise

    async def _cancel(self, repository: str, upload: URL) -> None:
        try:
            async with self._http.request("DELETE", upload, pushing(repository), tries=1):
                return
        except RemoteError:  # it sweeps by itself
            return

    async def push_manifest(self, repository: str, reference: str, document: Document) -> bool:
        """Send a manifest; whether the registry lists it with what it refers to, or it refers to nothing.

        Raises RemoteInvalid if the registry has kept another one.
        """
        manifest = document.manifest
        headers = await self._put(repository, reference, document.body, manifest.media_type)
        if headers.get(_DIGEST, manifest.digest) not in (manifest.digest, digest_of(document.body)):
            raise self._kept_another()
        return not manifest.subject or "OCI-Subject" in headers

    async def put_manifest(self, repository: str, reference: str, body: bytes, media_type: str) -> str:
        """Send a manifest; its digest. Raises RemoteInvalid if it was kept with another one."""
        headers, digest = await self._put(repository, reference, body, media_type), digest_of(body)
        if headers.get(_DIGEST, digest) != digest:
            raise self._kept_another()
        return digest

    async def _put(self, repository: str, reference: str, body: bytes, media_type: str) -> Mapping[str, str]:
        headers: dict[str, str] = {hdrs.CONTENT_TYPE: media_type}
        target = _manifest_path(repository, reference)
        async with self._http.request("PUT", target, pushing(repository), headers=headers, body=body) as response:
            return response.headers

    def _kept_another(self) -> RemoteInvalid:
        return RemoteInvalid(f"{self.url} has kept the manifest with another digest.")

    async def list_referrer(self, repository: str, manifest: NewManifest) -> None:
        """Add a manifest to the tag that lists what refers to its subject, at a registry that does not do so itself.

        Source: distribution-spec 1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema".
        """
        listed = await self._referrers_by_tag(repository, manifest.subject)
        if any(one["digest"] == manifest.digest for one in listed):
            return
        mine = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.size}
        more = {"artifactType": manifest.artifact_type, "annotations": dict(manifest.annotations)}
        listed.append({**mine, **{name: value for name, value in more.items() if value}})
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).encode()
        await self.put_manifest(repository, referrers_tag(manifest.subject), body, OCI_INDEX)


def _manifest_path(repository: str, reference: str) -> str:
    """Where a manifest is. Raises RemoteNotFound for what is neither tag nor digest: `../` would lead elsewhere."""
    if not is_tag(reference) and not is_digest(reference):
        raise RemoteNotFound(f"{ascii(reference)[:200]} is neither a tag nor a digest.")
    return f"/v2/{repository}/manifests/{reference}"


def referrers_tag(digest: str) -> str:
    """The tag that has the list of referrers of a digest. Source: distribution-spec 1.1, "Referrers Tag Schema"."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def pulling(repository: str) -> str:
    """The scope of a token that reads."""
    return f"repository:{repository}:pull"


def pushing(repository: str) -> str:
    """The scope of a token that writes."""
    return f"repository:{repository}:pull,push"


async def checked(chunks: AsyncIterator[bytes], digest: str, size: int) -> AsyncIterator[bytes]:
    """The chunks as they are. Raises RemoteInvalid, before the last one, if they are not the blob of this digest."""
    algorithm, _, wanted = digest.partition(":")
    hashing, length, held = hashlib.new(algorithm), 0, b""
    async for chunk in chunks:
        length += len(chunk)
        if length > size:
            break
        hashing.update(chunk)
        if held:
            yield held
        held = chunk
    if length < size:
        raise RemoteUnavailable(f"The blob {digest} broke off after {length} of {size} bytes.")
    if length > size or hashing.hexdigest() != wanted:
        raise RemoteInvalid(f"The bytes that came for {digest} have another digest.")
    if held:
        yield held


def _descriptors(index: Any) -> list[dict[str, Any]]:
    found = _listed(index, "manifests")
    return [one for one in found if isinstance(one, dict) and is_digest(str(one.get("digest")))]


def _listed(page: Any, key: str) -> list[Any]:
    """The list of this name in a document from anyone, empty if there is none."""
    found = page.get(key) if isinstance(page, dict) else None
    return found if isinstance(found, list) else []
