"""Access: users, robots, what they were granted, and API tokens; and the page of whoever is signed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from lumper.accounts.accounts import Accounts
from lumper.errors import Conflict, Forbidden, Invalid, NotFound, TooManyAttempts, Unauthorized
from lumper.model.images.activity import Actor
from lumper.model.people.people import Identity, Role
from lumper.model.people.rights import Action
from lumper.web.auth.authenticator import actor_of
from lumper.web.auth.own_tokens import expiry, holder_of, limits_of
from lumper.web.pages.site import IDENTITY, VIEWERS, Site
from lumper.web.small_bodies import form_of

_LONGEST = 3660  # days
_SECRETS = ("old", "password")
_WRONG = (Conflict, Forbidden, Invalid, NotFound, TooManyAttempts, Unauthorized)

Fields = dict[str, str]
Change = Callable[[web.Request, Fields], Awaitable[str]]
"""Carries out what a form asks for; the token that it made, or ""."""


class AccessPages:
    """The handlers."""

    def __init__(self, site: Site, accounts: Accounts) -> None:
        self._site = site
        self._accounts = accounts

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        router.add_get("/access", self._site.page(self._all))
        router.add_get("/me", self._site.page(self._me, VIEWERS))
        for path, change in {
            "/access/users": self._add_user,
            "/access/users/password": self._set_password,
            "/access/users/change": self._change_user,
            "/access/users/remove": self._remove_user,
            "/access/robots": self._add_robot,
            "/access/robots/rotate": self._rotate_robot,
            "/access/robots/change": self._change_robot,
            "/access/robots/remove": self._remove_robot,
            "/access/grants": self._add_grant,
            "/access/grants/remove": self._remove_grant,
            "/access/tokens/remove": self._remove_token,
        }.items():
            router.add_post(path, self._site.page(self._changing(change, self._all)))
        for path, change in {
            "/me/password": self._own_password,
            "/me/tokens": self._add_token,
            "/me/tokens/remove": self._remove_own_token,
        }.items():
            router.add_post(path, self._site.page(self._changing(change, self._me), VIEWERS))

    async def _all(self, request: web.Request, **more: object) -> web.Response:
        """Everybody and everything that may sign in."""
        accounts = self._accounts
        return self._shown(
            request,
            "access.html",
            users=await accounts.users(),
            robots=await accounts.robots(),
            grants=await accounts.grants.all(),
            tokens=await accounts.tokens(),
            **more,
        )

    async def _me(self, request: web.Request, **more: object) -> web.Response:
        """Who is signed in, what they may do, and their tokens."""
        identity = _who(request)
        own = identity.account and identity.limits is None
        tokens = await self._accounts.tokens(identity.name) if own else []
        return self._shown(request, "me.html", own=own, tokens=tokens, **more)

    def _shown(self, request: web.Request, template: str, **values: object) -> web.Response:
        given = {"error": "", "hint": "", "token": "", "token_of": ""} | values
        status = 400 if given["error"] else 200
        return self._site.render(request, template, status=status, actions=list(Action), **given)

    def _changing(
        self, change: Change, show: Callable[..., Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Do it and show the page again: with a new token, which is seen this once, or with what is wrong."""

        async def handler(request: web.Request) -> web.StreamResponse:
            form = await form_of(request)
            fields = {key: value if key in _SECRETS else value.strip() for key, value in form.items()}
            try:
                token = await change(request, fields)
            except _WRONG as exc:
                return await show(request, error=exc.message, hint=exc.hint)
            if token:
                return await show(request, token=token, token_of=fields.get("name", ""))
            raise web.HTTPSeeOther("/me" if request.path.startswith("/me") else "/access")

        return handler

    async def _add_user(self, request: web.Request, form: Fields) -> str:
        role = Role.ADMIN if form.get("role") == "admin" else Role.USER
        await self._accounts.create_user(form.get("name", ""), form.get("password", ""), role, _actor(request))
        return ""

    async def _set_password(self, request: web.Request, form: Fields) -> str:
        await self._accounts.set_password(form.get("name", ""), form.get("password", ""), _actor(request))
        return ""

    async def _change_user(self, request: web.Request, form: Fields) -> str:
        role = Role(form["role"]) if form.get("role") in ("admin", "user") else None
        disabled = form["disabled"] == "1" if "disabled" in form else None
        name, actor = form.get("name", ""), _actor(request)
        await self._accounts.change_user(name, role=role, disabled=disabled, actor=actor)
        return ""

    async def _remove_user(self, request: web.Request, form: Fields) -> str:
        await self._accounts.delete_user(form.get("name", ""), _actor(request))
        return ""

    async def _add_robot(self, request: web.Request, form: Fields) -> str:
        return await self._accounts.create_robot(form.get("name", ""), expiry(_days(form)), _actor(request))

    async def _rotate_robot(self, request: web.Request, form: Fields) -> str:
        return await self._accounts.rotate_robot(form.get("name", ""), expiry(_days(form)), _actor(request))

    async def _change_robot(self, request: web.Request, form: Fields) -> str:
        disabled = form.get("disabled") == "1"
        await self._accounts.disable_robot(form.get("name", ""), disabled=disabled, actor=_actor(request))
        return ""

    async def _remove_robot(self, request: web.Request, form: Fields) -> str:
        await self._accounts.delete_robot(form.get("name", ""), _actor(request))
        return ""

    async def _add_grant(self, request: web.Request, form: Fields) -> str:
        account, repository = form.get("account", ""), form.get("repository", "")
        await self._accounts.grants.add(account, repository, _allowed(form), _actor(request))
        return ""

    async def _remove_grant(self, request: web.Request, form: Fields) -> str:
        await self._accounts.grants.remove(form.get("account", ""), form.get("repository", ""), _actor(request))
        return ""

    async def _remove_token(self, request: web.Request, form: Fields) -> str:
        await self._accounts.delete_token(form.get("name", ""), actor=_actor(request))
        return ""

    async def _own_password(self, request: web.Request, form: Fields) -> str:
        identity = _who(request)
        await self._site.auth.check_password(request, identity, form.get("old", ""))
        await self._accounts.set_password(identity.name, form.get("password", ""), _actor(request))
        return ""

    async def _add_token(self, request: web.Request, form: Fields) -> str:
        role, owner = holder_of(_who(request), None)
        limits = limits_of(form.get("repository", "").replace(",", " ").split(), _allowed(form))
        until, actor = expiry(_days(form)), _actor(request)
        name = form.get("name", "")
        return await self._accounts.create_token(name, role, until, owner=owner, limits=limits, actor=actor)

    async def _remove_own_token(self, request: web.Request, form: Fields) -> str:
        identity = _who(request)
        if not identity.account or identity.limits is not None:
            raise Forbidden("Sign in with your password for that.")
        await self._accounts.delete_token(form.get("name", ""), owner=identity.name, actor=_actor(request))
        return ""


def _who(request: web.Request) -> Identity:
    return request[IDENTITY]


def _actor(request: web.Request) -> Actor:
    return actor_of(request[IDENTITY], request)


def _allowed(form: Fields) -> list[Action]:
    return [action for action in Action if f"allow-{action}" in form]


def _days(form: Fields) -> int | None:
    text = form.get("days", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 4 or not 1 <= int(text) <= _LONGEST:
        raise Invalid(f"Days are a number from 1 to {_LONGEST}, or nothing for ever.")
    return int(text)
