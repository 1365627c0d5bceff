"""Signing in and out, and the one-time link that makes the first admin."""

from __future__ import annotations

from aiohttp import web

from lumper.accounts.accounts import TOKEN_PREFIX, Accounts, check_new_user
from lumper.errors import Conflict, Forbidden, Invalid, TooManyAttempts, Unauthorized
from lumper.model.images.activity import AuditAction
from lumper.model.people.people import Identity, Role
from lumper.web.auth.authenticator import actor_of
from lumper.web.connection.proxies import address_of
from lumper.web.pages.security import require_same_origin
from lumper.web.pages.site import VIEWERS, Site, local_path
from lumper.web.small_bodies import form_of

MINIMUM = 10  # characters of an admin's password


class SignIn:
    """The handlers."""

    def __init__(self, site: Site, accounts: Accounts) -> None:
        self._site = site
        self._accounts = accounts

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        router.add_get("/login", self._site.public(self.show_login))
        router.add_post("/login", self._site.public(self.login))
        router.add_post("/logout", self._site.public(self.logout))
        router.add_get("/setup", self._site.public(self.show_setup))
        router.add_post("/setup", self._site.public(self.setup))

    async def show_login(self, request: web.Request) -> web.Response:
        """The form."""
        return self._login_form(request, after=local_path(request.query.get("next", "")))

    def _login_form(self, request: web.Request, *, after: str, name: str = "", error: str = "") -> web.Response:
        return self._site.render(
            request, "login.html", status=401 if error else 200, after=after, name=name, error=error
        )

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Verify and go to where the person wanted to go."""
        require_same_origin(request, self._site.links.public_url)
        form = await form_of(request)
        after, name = local_path(form.get("next", "")), form.get("name", "").strip()
        password = form.get("password", "")
        if password.strip().startswith(TOKEN_PREFIX):  # pasted with a line end, as from a file
            password = password.strip()
        try:
            identity = await self._site.auth.login(name, password, address_of(request))
        except (Unauthorized, TooManyAttempts) as exc:
            return self._login_form(request, after=after, name=name, error=exc.sentence)
        if identity.role not in VIEWERS:
            error = f"A token of the role {identity.role.value} is for programs; it does not open the pages."
            return self._login_form(request, after=after, name=name, error=error)
        await self._accounts.tell(AuditAction.SIGN_IN, actor_of(identity, request))
        return self._enter(request, identity, after)

    def _enter(self, request: web.Request, identity: Identity, after: str) -> web.Response:
        response = web.Response(status=303, headers={"Location": after})
        self._site.auth.open_session(request, response, identity)
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """End the session in this browser."""
        require_same_origin(request, self._site.links.public_url)
        response = web.Response(status=303, headers={"Location": "/login"})
        self._site.auth.close_session(response)
        return response

    async def show_setup(self, request: web.Request) -> web.Response:
        """The form; the link is used up by sending it only, so that a preview of the link does no harm."""
        token = request.query.get("token", "")
        if not await self._accounts.is_setup_token(token):
            raise _link_needed()
        return self._setup_form(request, token=token)

    def _setup_form(self, request: web.Request, *, token: str, name: str = "", error: str = "") -> web.Response:
        return self._site.render(
            request, "setup.html", status=400 if error else 200, token=token, name=name, error=error, minimum=MINIMUM
        )

    async def setup(self, request: web.Request) -> web.StreamResponse:
        """Make the admin and sign in."""
        require_same_origin(request, self._site.links.public_url)
        form = await form_of(request)
        token, name, password = (form.get(key, "") for key in ("token", "name", "password"))
        name = name.strip()
        if not await self._accounts.is_setup_token(token):
            raise _link_needed()
        try:
            if len(password) < MINIMUM:
                raise Invalid(f"The password needs at least {MINIMUM} characters.")
            check_new_user(name, password)
        except Invalid as exc:
            return self._setup_form(request, token=token, name=name, error=exc.sentence)
        if not await self._accounts.redeem_setup_token(token):
            raise _link_needed()
        try:
            await self._accounts.create_user(name, password, Role.ADMIN)
        except Conflict as exc:  # said only to those whose link was good; they get another one
            again = await self._accounts.create_setup_token()
            return self._setup_form(request, token=again, name=name, error=exc.sentence)
        return self._enter(request, await self._site.auth.login(name, password, address_of(request)), "/")


def _link_needed() -> Forbidden:
    return Forbidden(
        "This page needs the one-time link.",
        hint="The server prints it when it starts: look at its output or its log. It works once, within a day. After a "
        "restart there is a new one, as long as there is no admin. Or type `lumper user add NAME --role admin` on the "
        "server's machine.",
    )
