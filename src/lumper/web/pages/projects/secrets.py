"""What builds of a project are given: set and removed on its page, and shown there without the values."""

from __future__ import annotations

from aiohttp import web
from yarl import URL

from lumper.errors import Invalid
from lumper.line.secrets import Secrets
from lumper.model.builds.secrets import Kind, as_kept
from lumper.web.auth.authenticator import actor_of
from lumper.web.pages.site import IDENTITY, Site
from lumper.web.small_bodies import form_of


class SecretPages:
    """The handlers."""

    def __init__(self, site: Site, secrets: Secrets) -> None:
        self._site = site
        self._secrets = secrets

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        router.add_post("/secrets", self._site.page(self.set))
        router.add_post("/secrets/remove", self._site.page(self.remove))

    async def set(self, request: web.Request) -> web.StreamResponse:
        """Keep a secret, and show the project again."""
        form = await form_of(request)
        kind = _kind(form)
        await self._secrets.set(
            _project(form),
            kind,
            form.get("name", "").strip() or ("default" if kind is Kind.SSH else ""),
            as_kept(form.get("value", "").replace("\r\n", "\n").encode("utf-8", "surrogateescape")),
            username=form.get("username", "").strip() if kind is Kind.LOGIN else "",
            branches=[part.strip() for part in form.get("branches", "").split(",") if part.strip()],
            actor=actor_of(request[IDENTITY], request),
        )
        raise _back(form)

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """Forget a secret, and show the project again."""
        form = await form_of(request)
        owner = _project(form) if form.get("own", "1") == "1" else ""
        await self._secrets.remove(owner, _kind(form), form.get("name", ""), actor_of(request[IDENTITY], request))
        raise _back(form)


def _project(form: dict[str, str]) -> str:
    if project := form.get("project", ""):
        return project
    raise Invalid("The form names no project.")


def _kind(form: dict[str, str]) -> Kind:
    try:
        return Kind(form.get("kind", Kind.VALUE))
    except ValueError as exc:
        raise Invalid("There is no such kind of secret.") from exc


def _back(form: dict[str, str]) -> web.HTTPSeeOther:
    return web.HTTPSeeOther(URL.build(path=f"/projects/{form['project']}", fragment="secrets"))
