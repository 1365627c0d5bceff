"""Who comes in: the credentials of a request become a caller who may do what is asked, or a refusal."""

from __future__ import annotations

from aiohttp import web

from lumper.errors import Unauthorized
from lumper.model.people.people import Role
from lumper.web.auth.authenticator import Authenticator, TokenScope
from lumper.web.auth.rate_limits import RateLimits
from lumper.web.connection.proxies import address_of
from lumper.web.oci.address import Address
from lumper.web.oci.rights import Caller, Challenge, bearer_challenge, scope_for

_OWN = frozenset({Role.WORKER, Role.DEPLOYER, Role.MAILER, Role.BUILD})  # parts of Lumper: no limit holds for them


class Guard:
    """Asks every request who sent it, and lets in as many as `limits` say.

    `public_url` is where clients reach us, "" for what they ask for.
    """

    def __init__(self, authenticator: Authenticator, public_url: str, limits: RateLimits) -> None:
        self._limits = limits
        self.authenticator = authenticator
        self.anonymous = authenticator.anyone
        self._public_url = public_url

    async def caller(self, request: web.Request, scope: str = "") -> Caller:
        """Who asks.

        Raises Challenge without credentials, where anyone may do nothing, and with wrong ones; TooManyRequests.
        """
        try:
            reach = await self.authenticator.reach(request)
        except Unauthorized as exc:
            self.admit(address_of(request), None)
            raise Challenge(scope, "invalid_token", exc.message) from exc
        self.admit(address_of(request), reach)
        if reach is None and not self.anonymous.grants:
            raise Challenge(scope)
        return Caller(reach or TokenScope(None), self.anonymous)

    def admit(self, address: str, reach: TokenScope | None) -> None:
        """Count a request of this sender. Raises TooManyRequests."""
        if (account := _account(reach)) is not None:
            self._limits.admit(account, address)

    def pull(self, caller: Caller, address: str, *, counts: bool) -> dict[str, str]:
        """What the sender of a request for a manifest is told of its limit. Raises TooManyRequests."""
        if (account := _account(caller.reach)) is None:
            return {}
        return self._limits.pull(account, address, counts=counts)

    def known(self, ticket: bytes | None) -> Caller | None:
        """Who asks with credentials of this ticket, or without any; None if that is not known, or is to be refused."""
        if ticket is None:
            return Caller(TokenScope(None), self.anonymous) if self.anonymous.grants else None
        reach = self.authenticator.remembered(ticket)
        return Caller(reach, self.anonymous) if reach is not None else None

    async def allowed(self, request: web.Request, address: Address, action: str, *more_scopes: str) -> Caller:
        """The caller, who may do `action` in this repository. Raises Challenge, RegistryError DENIED.

        `more_scopes` are asked for along with it, but not needed.
        """
        scope = " ".join([scope_for(request.method, address, action), *more_scopes])
        caller = await self.caller(request, scope)
        caller.check(address.repository, action, scope)
        return caller

    def challenge(self, request: web.Request, challenge: Challenge) -> str:
        """The WWW-Authenticate header that asks for other credentials."""
        return bearer_challenge(request, self.authenticator, self._public_url, challenge)


def _account(reach: TokenScope | None) -> str | None:
    """By what limits know the sender: "" without an account, None if they do not hold."""
    identity = reach.identity if reach else None
    if identity is None:
        return ""
    return None if identity.role in _OWN else f"{identity.role}:{identity.name}"
