"""Who asks: passwords, API tokens, registry tokens and the session cookie become an `Identity`."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from lumper.accounts.accounts import BUILD_PREFIX, TOKEN_PREFIX, Accounts, Authentication
from lumper.errors import Unauthorized
from lumper.model.images.activity import Actor, AuditAction
from lumper.model.people.people import Identity
from lumper.model.people.rights import NOTHING, Rights
from lumper.web.auth.backoff import Backoff
from lumper.web.auth.credential_memory import CredentialMemory
from lumper.web.auth.signed_tokens import BUILD_AUDIENCE, Keys, build_token
from lumper.web.connection.proxies import address_of

SESSION_COOKIE = "lumper_session"
SESSION_SECONDS = 7 * 24 * 3600
REGISTRY_SECONDS = 300
REFRESH_SECONDS = 30 * 24 * 3600

_SESSION_AUDIENCE = "lumper-session"
_REFRESH_AUDIENCE = "lumper-refresh"
_NOBODY = (("basic", ""), ("basic", "Og=="))  # no name and no password: clients without a login send it
_PREFIXES = (TOKEN_PREFIX, BUILD_PREFIX)
_HOUR = 3600.0
_REFUSED_TOLD = 100
_LANES = 256  # attempts with one address and name go one after the other
_TRUSTED_SECONDS = 60.0  # how long a verified password or API token is not looked up again


@dataclass(frozen=True)
class TokenScope:
    """What a request to the registry may use: someone's identity (None: anyone), and how far it reaches.

    `access` is None for a password or an API token, which reach as far as their owner's rights; a registry token
    reaches to the actions it names, by resource (`repository:owner/name`, `registry:catalog`).
    """

    identity: Identity | None
    access: dict[str, frozenset[str]] | None = None

    def reaches(self, resource: str, action: str) -> bool:
        """Whether the credentials themselves cover this; the rights of the identity have to allow it too."""
        return self.access is None or action in self.access.get(resource, frozenset())


class Authenticator:
    """Verifies credentials, and remembers for a short time, by a keyed hash, those that were right.

    `service` is the audience of registry tokens. `anyone` is what may be done without an account, and so with any.
    `secure` makes session cookies travel over https only, also when a proxy in front speaks https and this server does
    not.
    """

    def __init__(
        self,
        accounts: Accounts,
        keys: Keys,
        *,
        service: str = "lumper",
        secure: bool = False,
        anyone: Rights = NOTHING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self.anyone = anyone
        self._accounts = accounts
        self._keys = keys
        self._secure = secure
        self._clock = clock
        self._backoff = Backoff(clock)
        self._attempts = [asyncio.Lock() for _ in range(_LANES)]
        self._refused: deque[float] = deque()
        self._memory = CredentialMemory(accounts, clock)

    async def identify(self, request: web.Request) -> Identity | None:
        """Who asks, by Basic, by an API token as Bearer, or by the session cookie; None without any of these.

        Raises Unauthorized for credentials that are not right, TooManyAttempts. A cookie that is not valid any more is
        no error: it is as if there was none.
        """
        scheme, value = _credentials(request)
        if scheme == "basic":
            return await self._basic(value, address_of(request))
        if scheme == "bearer":
            return await self._token(value, address=address_of(request))
        if scheme:
            raise Unauthorized(f"{scheme.title()} is not a way to sign in here.")
        cookie = request.cookies.get(SESSION_COOKIE, "")
        return await self._signed(_SESSION_AUDIENCE, cookie) if cookie else None

    async def reach(self, request: web.Request) -> TokenScope | None:
        """What a request to the registry may use: Basic, an API token or a registry token; no cookies.

        None without credentials. Raises Unauthorized, TooManyAttempts. What it has found `remembered` knows, too.
        """
        scheme, value = _credentials(request)
        if scheme == "basic":
            return TokenScope(await self._basic(value, address_of(request)))
        if scheme == "bearer" and value.startswith(_PREFIXES):
            return TokenScope(await self._token(value, address=address_of(request)))
        if scheme == "bearer":
            return await self._registry_token(value)
        if scheme:
            raise Unauthorized(f"{scheme.title()} is not a way to sign in here.")
        return None

    def ticket(self, authorization: str) -> bytes | None:
        """The key under which `remembered` finds the credentials in this header field; None if it is not understood."""
        scheme, value = _split(authorization)
        if scheme == "bearer":
            return self._memory.key("token" if value.startswith(_PREFIXES) else "registry", value)
        try:
            name, password = _name_and_password(value) if scheme == "basic" else ("", "")
        except Unauthorized:
            return None
        if password.startswith(_PREFIXES):
            return self._memory.key("token", password)
        return self._memory.key("password", name, password) if name else None

    def remembered(self, ticket: bytes) -> TokenScope | None:
        """What `reach` has found for the credentials of this ticket a short time ago; None: ask it."""
        if (reach := self._memory.recall(ticket, TokenScope)) is not None:
            return reach
        identity = self._memory.recall(ticket, Identity)
        return TokenScope(identity) if identity is not None else None

    async def login(self, name: str, password: str, address: str) -> Identity:
        """Verify a password, or a token in its place. Raises Unauthorized, TooManyAttempts."""
        if password.startswith(_PREFIXES):
            return await self._token(password, name, address)
        key = self._memory.key("password", name, password)
        if (known := self._memory.recall(key, Identity)) is not None:
            return known
        async with self._attempts[hash((address, name)) % _LANES]:
            # several requests may have come with the same new password
            if (known := self._memory.recall(key, Identity)) is not None:
                return known
            return await self._verified(key, name, password, address)

    async def _verified(self, key: bytes, name: str, password: str, address: str) -> Identity:
        version = self._accounts.version
        self._backoff.begin(address, name)
        found = await self._accounts.verify_password(name, password)
        if found is None:
            await self._tell_refused(name, address, "wrong name or password")
            raise Unauthorized()
        self._backoff.succeeded(address, name)
        return self._known(key, found, _TRUSTED_SECONDS, version)

    async def _tell_refused(self, name: str, address: str, why: str) -> None:
        if self._may_be_told():
            await self._accounts.tell(AuditAction.REFUSED, Actor(name[:64], "", address), why)

    def _may_be_told(self) -> bool:
        """Whether one more is: at most a hundred an hour, so that guessing does not fill the log."""
        now = self._clock()
        while self._refused and self._refused[0] < now - _HOUR:
            self._refused.popleft()
        if len(self._refused) >= _REFUSED_TOLD:
            return False
        self._refused.append(now)
        return True

    async def check_password(self, request: web.Request, identity: Identity, password: str) -> None:
        """Raise Unauthorized or TooManyAttempts if this is not the password of whoever asks."""
        if not identity.account or identity.limits is not None:
            raise Unauthorized("Sign in with your password first.")
        if password.startswith(_PREFIXES) or not await self.login(identity.name, password, address_of(request)):
            raise Unauthorized("The old password is not right.")

    def open_session(self, request: web.Request, response: web.StreamResponse, identity: Identity) -> None:
        """Sign someone in with a cookie. It ends with their password or token: open a new one after changing that."""
        response.set_cookie(
            SESSION_COOKIE,
            self._keys.sign(_SESSION_AUDIENCE, _claims(identity), SESSION_SECONDS),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="Lax",
            secure=self._secure or request.secure,
            path="/",
        )

    def close_session(self, response: web.StreamResponse) -> None:
        """Sign out: the browser forgets the cookie."""
        response.del_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="Lax")

    def registry_token(self, reach: TokenScope) -> str:
        """A short token for the registry that reaches as far as `reach.access` says."""
        access = [_resource_claim(resource, actions) for resource, actions in (reach.access or {}).items()]
        return self._keys.sign(self.service, _claims(reach.identity) | {"access": access}, REGISTRY_SECONDS)

    def refresh_token(self, identity: Identity, password: str) -> str:
        """What `refresh` takes in place of the password: a token is that itself, a password gets a signed one."""
        if password.startswith(_PREFIXES):
            return password
        return self._keys.sign(_REFRESH_AUDIENCE, _claims(identity), REFRESH_SECONDS)

    async def refresh(self, token: str, address: str) -> Identity:
        """Whose refresh token or API token this is. It ends with the user's password. Raises Unauthorized."""
        if token.startswith(_PREFIXES):
            return await self._token(token, address=address)
        identity = await self._signed(_REFRESH_AUDIENCE, token)
        if identity is None:
            raise Unauthorized("The refresh token is not valid, or has expired.")
        return identity

    def build_token(self, build_id: int, attempt: int) -> str:
        """A token for one attempt of a build, until that has ended."""
        return build_token(self._keys, build_id, attempt)

    async def _basic(self, value: str, address: str) -> Identity:
        return await self.login(*_name_and_password(value), address)

    async def _token(self, token: str, name: str = "", address: str = "") -> Identity:
        key = self._memory.key("token", token)
        if (known := self._memory.recall(key, Identity)) is not None:
            return known
        version = self._accounts.version
        found = await (self._build(token) if token.startswith(BUILD_PREFIX) else self._accounts.verify_token(token))
        if found is None:
            if not token.startswith(BUILD_PREFIX):  # that of an attempt that has ended is nothing to tell
                await self._tell_refused(name, address, "a token that is not known, or has expired")
            hint = "`lumper token create` makes another one, or the page behind your name does."
            raise Unauthorized("The token is not known, or has expired.", hint=hint)
        return self._known(key, found, _trusted(found), version)

    async def _build(self, token: str) -> Authentication | None:
        claims = self._keys.verify(BUILD_AUDIENCE, token.removeprefix(BUILD_PREFIX))
        if claims is None:
            return None
        identity = await self._accounts.build(claims["build"], claims["attempt"])
        return None if identity is None else Authentication(identity, datetime.fromtimestamp(claims["exp"], UTC))

    async def _registry_token(self, token: str) -> TokenScope:
        """A registry token is worth no more than what it was given for: without that it ends before its time."""
        key = self._memory.key("registry", token)
        if (known := self._memory.recall(key, TokenScope)) is not None:
            return known
        version = self._accounts.version
        claims = self._keys.verify(self.service, token)
        if claims is None:
            raise Unauthorized("The registry token is not valid, or has expired.")
        seconds, identity = claims["exp"] - time.time(), None
        if claims.get("sub") != "":
            found = await self._still(claims)
            if found is None:
                raise Unauthorized("What the registry token was given for is not valid any more.")
            seconds, identity = min(seconds, _trusted(found)), self._with_anyone(found)
        reach = TokenScope(identity, _access_from_claims(claims))
        self._memory.keep(key, reach, seconds, version)
        return reach

    async def _signed(self, audience: str, token: str) -> Identity | None:
        """Whose token this is, if what it was given for still lets them in."""
        key = self._memory.key(audience, token)
        if (known := self._memory.recall(key, Identity)) is not None:
            return known
        version = self._accounts.version
        claims = self._keys.verify(audience, token)
        found = await self._still(claims) if claims is not None else None
        if claims is None or found is None:
            return None
        return self._known(key, found, min(_trusted(found), claims["exp"] - time.time()), version)

    async def _still(self, claims: dict[str, Any]) -> Authentication | None:
        name, credential = claims.get("sub"), claims.get("by")
        if not isinstance(name, str) or not isinstance(credential, str):
            return None
        if credential.startswith("build:"):
            _, build_id, attempt = credential.split(":")
            identity = await self._accounts.build(int(build_id), int(attempt))
            return None if identity is None else Authentication(identity)
        return await self._accounts.still(name, credential)

    def _with_anyone(self, found: Authentication) -> Identity:
        return replace(found.identity, anyone=self.anyone.grants)

    def _known(self, key: bytes, found: Authentication, seconds: float, version: int) -> Identity:
        identity = self._with_anyone(found)
        self._memory.keep(key, identity, seconds, version)
        return identity


def actor_of(identity: Identity | None, request: web.Request) -> Actor:
    """Who asks, for the activity log."""
    address = address_of(request)
    return Actor(identity.name, identity.role.value, address) if identity else Actor(address=address)


def _credentials(request: web.Request) -> tuple[str, str]:
    """Scheme and value of the Authorization header; "" for both without any, or without anybody in it."""
    headers = request.headers.getall("Authorization", [])
    if len(headers) > 1:
        raise Unauthorized("There is more than one Authorization header.")
    found = _split(headers[0] if headers else "")
    return ("", "") if found in _NOBODY else found


def _split(authorization: str) -> tuple[str, str]:
    scheme, _, value = authorization.partition(" ")
    return scheme.lower()[:20], value.strip()


def _trusted(found: Authentication) -> float:
    """Seconds for which what was verified now is not looked up again."""
    if found.until is None:
        return _TRUSTED_SECONDS
    return min(_TRUSTED_SECONDS, found.until.timestamp() - time.time())


def _name_and_password(basic: str) -> tuple[str, str]:
    """RFC 7617, section 2. Raises Unauthorized."""
    try:
        name, colon, password = base64.b64decode(basic, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError) as exc:
        raise Unauthorized("The Authorization header is not understood.") from exc
    if not colon:
        raise Unauthorized("The Authorization header is not understood.")
    return name, password


def _claims(identity: Identity | None) -> dict[str, object]:
    return {"sub": identity.name, "by": identity.credential} if identity else {"sub": "", "by": ""}


def _access_from_claims(claims: dict[str, Any]) -> dict[str, frozenset[str]]:
    access: dict[str, frozenset[str]] = {}
    for entry in claims.get("access", []):
        resource = f"{entry['type']}:{entry['name']}"
        access[resource] = access.get(resource, frozenset()) | frozenset(entry["actions"])
    return access


def _resource_claim(resource: str, actions: frozenset[str]) -> dict[str, object]:
    kind, _, name = resource.partition(":")
    return {"type": kind, "name": name, "actions": sorted(actions)}
