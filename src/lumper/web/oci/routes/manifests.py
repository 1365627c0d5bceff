"""Manifests by tag and by digest: pulled, pushed, deleted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import hdrs, web

from lumper.model.images.image import is_digest
from lumper.registry.access import DELETE, PULL, PUSH
from lumper.registry.errors import refuse
from lumper.registry.manifests import MAX_BYTES, Manifests, check_reference, check_tag
from lumper.system.memory_budget import MemoryBudget
from lumper.web.auth.authenticator import actor_of
from lumper.web.connection.proxies import address_of
from lumper.web.oci.address import Address, Kind
from lumper.web.oci.answers import DIGEST, Routes, digest_headers, manifest_headers
from lumper.web.oci.bytes.body import SPOOLED, incoming_spooled
from lumper.web.oci.conditions import check_change, check_match, depends, has_already
from lumper.web.oci.guard import Guard

_LARGE = 2  # manifests at the same time
_COMING = 1 << 20  # bytes of all that are on their way, read ahead and held in memory
_COMING_LEAST, _COMING_MOST = 4 << 10, 256 << 10  # bytes of one
_MOST_TAGS = 250  # of one push; each is a file that is waited for


class ManifestRoutes:
    """Answers what is asked of manifests and tags."""

    def __init__(self, manifests: Manifests, guard: Guard, folder: Path | None) -> None:
        """Large ones are in `folder` until all of them has come; None: where the system keeps such files."""
        self._manifests = manifests
        self._guard = guard
        self._folder = folder
        self._large = asyncio.Semaphore(_LARGE)
        self._coming = MemoryBudget(_COMING, _COMING_LEAST, _COMING_MOST)

    def routes(self) -> Routes:
        """What is answered here."""
        return {
            (Kind.MANIFEST, "GET"): self._get,
            (Kind.MANIFEST, "PUT"): self._put,
            (Kind.MANIFEST, "DELETE"): self._delete,
        }

    async def _get(self, request: web.Request, address: Address) -> web.StreamResponse:
        caller = await self._guard.allowed(request, address, PULL)
        manifest = await self._manifests.find(address.repository, address.item)
        check_match(request, manifest.digest)
        if has_already(request, manifest.digest):
            return web.Response(status=304, headers=digest_headers(manifest.digest))
        told = self._guard.pull(caller, address_of(request), counts=request.method == "GET")
        body = None if request.method == "HEAD" else await self._manifests.content(manifest)
        return web.Response(body=body, headers={**manifest_headers(manifest), **told})

    async def _put(self, request: web.Request, address: Address) -> web.Response:
        """A push by digest may name tags: distribution-spec main, "Pushing Manifests" (end-7b)."""
        caller = await self._guard.allowed(request, address, PUSH)
        by_digest = is_digest(address.item)
        asked = list(dict.fromkeys(request.query.getall("tag", []))) if by_digest else []
        if len(asked) > _MOST_TAGS:
            raise refuse("ADDRESS_TOO_LONG", f"At most {_MOST_TAGS} tags are taken along with a digest.")
        check_reference(address.item)
        for tag in asked if by_digest else [address.item]:
            check_tag(tag)
            caller.check_tag(tag)
        expected = await self._expected(request, address)
        media_type = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip()
        actor = actor_of(caller.reach.identity, request)
        async with self._whole(request) as body:
            manifest = await self._manifests.put(
                address.repository, address.item, media_type, body, asked, actor=actor, expected=expected
            )
        headers = {hdrs.LOCATION: f"/v2/{address.repository}/manifests/{manifest.digest}", DIGEST: manifest.digest}
        if manifest.subject:
            headers["OCI-Subject"] = manifest.subject
        if asked:
            headers["OCI-Tag"] = ", ".join(asked)
        return web.Response(status=201, headers=headers)

    @contextlib.asynccontextmanager
    async def _whole(self, request: web.Request) -> AsyncIterator[bytes]:
        """The body; of large ones, which become many objects, there are few in memory at the same time."""
        with await incoming_spooled(request, MAX_BYTES, self._folder, self._coming) as spool:
            large = spool.tell() > SPOOLED
            async with self._large if large else contextlib.nullcontext():
                spool.seek(0)
                yield await asyncio.to_thread(spool.read) if large else spool.read()

    async def _delete(self, request: web.Request, address: Address) -> web.Response:
        caller = await self._guard.allowed(request, address, DELETE)
        if not is_digest(address.item):
            caller.check_tag(address.item)
        expected = await self._expected(request, address)
        actor = actor_of(caller.reach.identity, request)
        await self._manifests.delete(address.repository, address.item, actor, expected=expected)
        return web.Response(status=202)

    async def _expected(self, request: web.Request, address: Address) -> str | None:
        """What has to be there still when a change is made under a condition, "" for nothing; None without one.

        Source: RFC 9110, section 13. Raises RegistryError CONDITION_FAILED if the condition does not hold now.
        """
        if not depends(request):
            return None
        there = await self._manifests.there(address.repository, address.item)
        if there or request.method == "PUT":  # what would be 404 is so under a condition too: section 13.2.1
            check_change(request, there)
        return there
