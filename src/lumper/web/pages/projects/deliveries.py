"""Deliveries: what forges sent, and the same once more."""

from __future__ import annotations

import json
import re

from aiohttp import web

from lumper.forges.payload import shown
from lumper.line.history import History
from lumper.web.pages.builds import number
from lumper.web.pages.site import Site
from lumper.web.replayer import Replayer

_A_PAGE = 50
_SHOWN_BYTES = 1 << 20  # of a body; what is longer is downloaded
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)


class DeliveryPages:
    """The handlers."""

    def __init__(self, site: Site, history: History, replayer: Replayer) -> None:
        self._site = site
        self._history = history
        self._replayer = replayer

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        page, one = self._site.page, r"/deliveries/{id:\d{1,9}}"
        router.add_get("/deliveries", page(self.all))
        router.add_get(one, page(self.one))
        router.add_get(one + "/body", page(self.body))
        router.add_post(one + "/replay", page(self.replay))

    async def all(self, request: web.Request) -> web.Response:
        """The newest deliveries, of all projects or of one."""
        name, before = request.query.get("project", ""), number(request, "before")
        project = await self._history.projects.get(name) if name else None
        found = await self._history.deliveries.newest(
            _A_PAGE + 1, project_id=project.id if project else "", before=before
        )
        return self._site.render(
            request,
            "deliveries.html",
            deliveries=found[:_A_PAGE],
            older=found[_A_PAGE - 1].id if len(found) > _A_PAGE else None,
            newer=before is not None,
            project=name,
        )

    async def one(self, request: web.Request) -> web.Response:
        """One delivery with its headers and its body."""
        delivery = await self._history.deliveries.get(int(request.match_info["id"]))
        headers = [(name, shown(value, 500)) for name, value in delivery.headers.items()]
        return self._site.render(
            request, "delivery.html", delivery=delivery, headers=headers, body=readable(delivery.body)
        )

    async def body(self, request: web.Request) -> web.Response:
        """The body, byte by byte as it came, to be saved."""
        delivery = await self._history.deliveries.get(int(request.match_info["id"]))
        headers = {"Content-Disposition": f'attachment; filename="delivery-{delivery.id}"'}
        return web.Response(body=delivery.body, content_type="application/octet-stream", headers=headers)

    async def replay(self, request: web.Request) -> web.StreamResponse:
        """Deliver it again, and show what came of it."""
        accepted = await self._replayer.replay(int(request.match_info["id"]))
        one = f"/builds/{accepted.builds[0]}" if len(accepted.builds) == 1 else ""
        raise web.HTTPSeeOther(one or f"/deliveries/{request.match_info['id']}")


def readable(body: bytes) -> str:
    """JSON with a field a line; anything else as it is. "" for what is too long for a page.

    Characters that would make it read otherwise than it is (CVE-2021-42574), or are not seen, become JSON escapes.
    """
    if len(body) > _SHOWN_BYTES:
        return ""
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
