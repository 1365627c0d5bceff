"""Tokens for credentials. Source: distribution's "Token authentication" and "OAuth 2.0" specifications, RFC 6749."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs

from aiohttp import hdrs, web

from lumper.errors import Unauthorized
from lumper.model.people.people import Identity
from lumper.registry.errors import refuse
from lumper.web.auth.authenticator import REGISTRY_SECONDS, TokenScope
from lumper.web.connection.proxies import address_of
from lumper.web.oci.address import Address, Kind
from lumper.web.oci.answers import Routes, error_answer
from lumper.web.oci.bytes.body import incoming
from lumper.web.oci.guard import Guard
from lumper.web.oci.namespaces import Namespaces
from lumper.web.oci.rights import Caller, asked_scopes

_MOST_BYTES = 64 << 10
_BASIC: dict[str, str] = {hdrs.WWW_AUTHENTICATE: 'Basic realm="Lumper", charset="UTF-8"'}
_FORM = "application/x-www-form-urlencoded"

_Form = dict[str, list[str]]


class TokenRoutes:
    """Credentials in, a short token out that reaches as far as they do; without any, as far as anyone may."""

    def __init__(self, guard: Guard, namespaces: Namespaces | None) -> None:
        self._guard = guard
        self._namespaces = namespaces
        self._authenticator = guard.authenticator

    def routes(self) -> Routes:
        """What is answered here."""
        return {(Kind.TOKEN, "GET"): self._get, (Kind.TOKEN, "POST"): self._post}

    async def _get(self, request: web.Request, _address: Address) -> web.Response:
        """Docker's way: Basic credentials, or none, and the scopes in the query."""
        try:
            reach = await self._authenticator.reach(request)
        except Unauthorized as exc:
            self._guard.admit(address_of(request), None)
            return error_answer(refuse("UNAUTHORIZED", exc.message), _BASIC)
        self._guard.admit(address_of(request), reach)
        service = request.query.get("service", self._authenticator.service)
        if reach is not None and (reach.access is not None or service != self._authenticator.service):
            text = "A token is given for a password or an API token, and for this service only."
            return error_answer(refuse("UNAUTHORIZED", text), _BASIC)
        return await self._answer(reach or TokenScope(None), request.query.getall("scope", []))

    async def _post(self, request: web.Request, _address: Address) -> web.Response:
        """The way of OAuth 2, which containerd and BuildKit try first: everything in a form.

        A wrong password is answered with 401 and not with the 400 of RFC 6749, section 5.2, so that a client which
        can ask its user for another one does so.
        """
        form = await _form(request)
        if _one(form, "service", self._authenticator.service) != self._authenticator.service:
            return _oauth_error("invalid_request", "A token is given for this service only.")
        kind, refresh = _one(form, "grant_type"), ""
        name, password = _one(form, "username"), _one(form, "password")
        identity: Identity | None = None
        try:
            if kind == "password":
                if name or password:
                    identity = await self._authenticator.login(name, password, address_of(request))
                if identity is not None and _one(form, "access_type") == "offline":
                    refresh = self._authenticator.refresh_token(identity, password)
            elif kind == "refresh_token":
                refresh = _one(form, "refresh_token")
                identity = await self._authenticator.refresh(refresh, address_of(request))
            else:
                return _oauth_error("unsupported_grant_type", "grant_type is neither password nor refresh_token.")
        except Unauthorized as exc:
            self._guard.admit(address_of(request), None)
            return error_answer(refuse("UNAUTHORIZED", exc.message), _BASIC, error="invalid_grant")
        self._guard.admit(address_of(request), TokenScope(identity))
        return await self._answer(TokenScope(identity), form.get("scope", []), refresh)

    async def _answer(self, reach: TokenScope, scopes: list[str], refresh: str = "") -> web.Response:
        asked = asked_scopes(scopes)
        if self._namespaces is not None:
            asked = await self._namespaces.scopes(asked)
        access = Caller(reach, self._guard.anonymous).reachable(asked)
        token = self._authenticator.registry_token(TokenScope(reach.identity, access))
        answer = {
            "token": token,
            "access_token": token,
            "token_type": "Bearer",
            "scope": " ".join(f"{resource}:{','.join(sorted(actions))}" for resource, actions in access.items()),
            "expires_in": REGISTRY_SECONDS,
            "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if refresh:
            answer["refresh_token"] = refresh
        return web.json_response(answer, headers={hdrs.CACHE_CONTROL: "no-store"})


async def _form(request: web.Request) -> _Form:
    """The fields of the form, each with all its values. Raises RegistryError REQUEST_INVALID."""
    if request.content_type != _FORM or (request.content_length or 0) > _MOST_BYTES:
        raise refuse("REQUEST_INVALID", f"The request is not a form ({_FORM}) of at most 64 KiB.")
    body = b""
    async for piece in incoming(request):
        body += piece
        if len(body) > _MOST_BYTES:
            raise refuse("REQUEST_INVALID", "The form is larger than 64 KiB.")
    try:
        return parse_qs(body.decode("utf-8"), errors="strict", max_num_fields=100)
    except ValueError as exc:
        raise refuse("REQUEST_INVALID", "The form is not well-formed.") from exc


def _one(form: _Form, name: str, default: str = "") -> str:
    return form[name][0] if name in form else default


def _oauth_error(code: str, text: str) -> web.Response:
    return error_answer(refuse("REQUEST_INVALID", text), error=code, error_description=text)
