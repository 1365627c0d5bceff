"""What was told of an image: the packages in it, and where it comes from."""

from __future__ import annotations

import json

from aiohttp import web

from lumper.model.people.rights import Action
from lumper.web.pages.images.names import reference_of
from lumper.web.pages.site import VIEWERS, Site
from lumper.web.statements import Statements, having

_MOST = 500  # packages of a page


class AttestationPages:
    """The handlers."""

    def __init__(self, site: Site, statements: Statements) -> None:
        self._site = site
        self._statements = statements

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        page, one = self._site.page, "/images/{reference:.+}/-/"
        router.add_get(one + "packages", page(self.packages, VIEWERS))
        router.add_get(one + "packages.json", page(self.document, VIEWERS))
        router.add_get(one + "provenance", page(self.provenance, VIEWERS))

    async def packages(self, request: web.Request) -> web.Response:
        """The packages in the image, or those that have a text in them."""
        reference, wanted = reference_of(request, Action.PULL), request.query.get("q", "").replace("\0", "")[:200]
        found = await self._statements.packages(reference)
        rows = having(found.packages, wanted)
        return self._site.render(
            request,
            "image_packages.html",
            reference=reference,
            told=found,
            rows=rows[:_MOST],
            count=len(rows),
            wanted=wanted,
        )

    async def document(self, request: web.Request) -> web.Response:
        """The SPDX document, as a file."""
        found = await self._statements.packages(reference_of(request, Action.PULL))
        name = f"{found.repository.rpartition('/')[2]}.spdx.json"
        response = web.json_response(found.document)
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    async def provenance(self, request: web.Request) -> web.Response:
        """Where the image comes from."""
        reference = reference_of(request, Action.PULL)
        found = await self._statements.provenance(reference)
        return self._site.render(
            request,
            "image_provenance.html",
            reference=reference,
            told=found,
            text=json.dumps(found.predicate, indent=2, ensure_ascii=False),
        )
