"""Lists: the tags of a repository, the referrers of a manifest, all repositories."""

from __future__ import annotations

import json

from aiohttp import web

from lumper.model.images.image import Referrer
from lumper.registry.access import PULL
from lumper.registry.listings import Listings, Page, page_size
from lumper.registry.manifest_format import OCI_INDEX
from lumper.web.oci.address import Address, Kind
from lumper.web.oci.answers import Routes, next_page
from lumper.web.oci.guard import Guard

_FILTER = "artifactType"
_MOST_TYPES = 100


class ListingRoutes:
    """Answers with pages of names, and with the index of referrers."""

    def __init__(self, listings: Listings, guard: Guard) -> None:
        self._listings = listings
        self._guard = guard

    def routes(self) -> Routes:
        """What is answered here."""
        return {
            (Kind.CATALOG, "GET"): self._catalog,
            (Kind.TAGS, "GET"): self._tags,
            (Kind.REFERRERS, "GET"): self._referrers,
        }

    async def _catalog(self, request: web.Request, _address: Address) -> web.Response:
        caller = await self._guard.caller(request, "registry:catalog:*")
        caller.check_catalog()
        size = page_size(request.query.get("n"))
        page = await self._listings.repositories(request.query.get("last", ""), size, caller.rights)
        return _names(request, {"repositories": page.names}, page)

    async def _tags(self, request: web.Request, address: Address) -> web.Response:
        await self._guard.allowed(request, address, PULL)
        size = page_size(request.query.get("n"))
        page = await self._listings.tags(address.repository, request.query.get("last", ""), size)
        return _names(request, {"name": address.repository, "tags": page.names}, page)

    async def _referrers(self, request: web.Request, address: Address) -> web.Response:
        """Never 404: an empty index tells that the API is there. Source: distribution-spec 1.1, "Listing Referrers"."""
        await self._guard.allowed(request, address, PULL)
        size = page_size(request.query.get("n"))
        types = [one for one in request.query.getall(_FILTER, []) if one][:_MOST_TYPES]
        last = request.query.get("last", "")
        found, more = await self._listings.referrers(address.repository, address.item, types, last, size)
        headers = {"OCI-Filters-Applied": _FILTER} if types else {}
        if more:
            headers |= next_page(request, size, found[-1].digest, **{_FILTER: types})
        return web.Response(body=_index(found), content_type=OCI_INDEX, headers=headers)


def _names(request: web.Request, answer: dict[str, object], page: Page) -> web.Response:
    headers = next_page(request, len(page.names), page.names[-1]) if page.more else {}
    return web.json_response(answer, headers=headers)


def _index(referrers: list[Referrer]) -> bytes:
    manifests = [_descriptor(referrer) for referrer in referrers]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()


def _descriptor(referrer: Referrer) -> dict[str, object]:
    found: dict[str, object] = {
        "mediaType": referrer.media_type,
        "size": referrer.size,
        "digest": referrer.digest,
    }
    if referrer.artifact_type:
        found["artifactType"] = referrer.artifact_type
    if referrer.annotations:
        found["annotations"] = dict(referrer.annotations)
    return found
