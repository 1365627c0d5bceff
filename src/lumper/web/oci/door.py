"""Who comes in: the credentials of a request become a caller who may do what is asked, or a refusal."""

from __future__ import annotations

from aiohttp import web

from lumper.errors import Unauthorized
from lumper.model.rights import Rights
from lumper.web.auth import Authenticator, Reach
from lumper.web.oci.address import Address
from lumper.web.oci.rights import Caller, Challenge, bearer_challenge, scope_of


class Door:
    """Asks every request who sent it.

    `public_url` is where clients reach us, "" for what they ask for; `anonymous` what may be done without an account.
    """

    def __init__(self, authenticator: Authenticator, public_url: str, anonymous: Rights) -> None:
        self.authenticator = authenticator
        self.anonymous = anonymous
        self._public_url = public_url

    async def caller(self, request: web.Request, scope: str = "") -> Caller:
        """Who asks. Raises Challenge without credentials, where anyone may do nothing, and with wrong ones."""
        try:
            reach = await self.authenticator.reach(request)
        except Unauthorized as exc:
            raise Challenge(scope, "invalid_token", exc.message) from exc
        if reach is None and not self.anonymous.grants:
            raise Challenge(scope)
        return Caller(reach or Reach(None), self.anonymous)

    async def allowed(self, request: web.Request, address: Address, action: str, *more_scopes: str) -> Caller:
        """The caller, who may do `action` in this repository. Raises Challenge, RegistryError DENIED.

        `more_scopes` are asked for along with it, but not needed.
        """
        scope = " ".join([scope_of(address.repository, action), *more_scopes])
        caller = await self.caller(request, scope)
        caller.check(address.repository, action, scope)
        return caller

    def challenge(self, request: web.Request, challenge: Challenge) -> str:
        """The WWW-Authenticate header that asks for other credentials."""
        return bearer_challenge(request, self.authenticator, self._public_url, challenge)
