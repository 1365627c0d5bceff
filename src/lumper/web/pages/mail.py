"""Mails that landed in a folder because there is no mail server."""

from __future__ import annotations

from aiohttp import web
from aiohttp.helpers import content_disposition_header

from lumper.errors import NotFound
from lumper.notify.port import Mail, MailReader
from lumper.web.pages.security import FOREIGN_POLICY
from lumper.web.pages.site import Site


class MailPages:
    """The handlers."""

    def __init__(self, site: Site, mail: MailReader) -> None:
        self._site = site
        self._mail = mail

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        page = self._site.page
        router.add_get("/mail", page(self.all))
        router.add_get("/mail/{key}", page(self.one))
        router.add_get("/mail/{key}/html", page(self.html))
        router.add_get(r"/mail/{key}/files/{index:\d{1,4}}", page(self.attachment))

    async def all(self, request: web.Request) -> web.Response:
        """The newest mails."""
        return self._site.render(request, "mails.html", mails=await self._mail.list_messages())

    async def one(self, request: web.Request) -> web.Response:
        """One mail."""
        return self._site.render(request, "mail.html", mail=await self._read(request))

    async def html(self, request: web.Request) -> web.Response:
        """The mail's HTML, alone, for a frame in which nothing of it can act."""
        mail = await self._read(request)
        headers = {"Content-Security-Policy": FOREIGN_POLICY, "Cross-Origin-Opener-Policy": "unsafe-none"}
        return web.Response(text=mail.html, content_type="text/html", headers=headers)

    async def attachment(self, request: web.Request) -> web.Response:
        """A file to download; never shown, whatever it says it is."""
        mail, index = await self._read(request), int(request.match_info["index"])
        if index >= len(mail.attachments):
            raise NotFound(f"The mail has no file {index}.")
        found = mail.attachments[index]
        disposition = content_disposition_header("attachment", filename=found.name or "attachment")
        headers = {"Content-Disposition": disposition, "Content-Security-Policy": FOREIGN_POLICY}
        return web.Response(body=found.data, content_type="application/octet-stream", headers=headers)

    async def _read(self, request: web.Request) -> Mail:
        mail = await self._mail.read_message(request.match_info["key"])
        if mail is None:
            raise NotFound("There is no such mail.")
        return mail
