"""Credentials for another registry: Basic, and short Bearer tokens from its realm.

Source: RFC 7617, RFC 6750, distribution's "Token authentication" and "OAuth 2.0" specifications. The realm comes from
the registry's answer, and is trusted accordingly:

- A registry behind TLS gets tokens from a realm behind TLS only.
- The realm gets the credentials if it is at the registry's own host, if the pair of hosts is known to belong together,
  or if the configuration names its host (`auth_host`). Any other realm is asked without credentials, for the
  tokens that everybody gets (CVE-2020-15157).
- Its address is looked at like every other one (CVE-2026-48978), and no redirect is followed.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from yarl import URL

from lumper.errors import RemoteInvalid
from lumper.registry.remote.reference import HUB

_PAIRS = {HUB: "auth.docker.io", "registry.gitlab.com": "gitlab.com"}
_SCHEME = re.compile(r"(?:^|,)\s*(basic|bearer)(?:\s|$)", re.IGNORECASE)
_FIELD = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_REMEMBERED = 1000
_SHORTEST = 60.0  # seconds that a token is valid at least, says distribution's specification

Ask = Callable[[str, URL, Mapping[str, str], Mapping[str, str] | None], Awaitable[Mapping[str, object]]]
"""Ask a realm: method, URL, headers, form; the JSON of its answer. Raises RemoteError."""


@dataclass(frozen=True)
class Credentials:
    """A name and a password (or token) for one registry; `identity_token` instead is an OAuth refresh token.

    `at_once`: the registry may have them before it asks, and takes a small blob in one request. That saves three.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    at_once: bool = False

    @property
    def basic(self) -> str:
        """The Authorization header, "" without a password."""
        if not self.password:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Challenge:
    """One way to sign in that a registry offers: `scheme` in lower case, and its fields."""

    scheme: str
    fields: Mapping[str, str]


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """The challenges of WWW-Authenticate headers, RFC 9110, section 11.6.1."""
    found = []
    for header in headers:
        marks = list(_SCHEME.finditer(header[:8192]))
        for number, mark in enumerate(marks, 1):
            end = marks[number].start() if number < len(marks) else len(header)
            text = header[mark.end() : end]
            fields = {m[1].lower(): m[3] or re.sub(r"\\(.)", r"\1", m[2] or "") for m in _FIELD.finditer(text)}
            found.append(Challenge(mark[1].lower(), fields))
    return found


def checked_realm(registry: URL, realm: str) -> URL:
    """The realm as a URL. Raises RemoteInvalid for one that is never asked."""
    try:
        url = URL(realm)
        good = url.absolute and bool(url.host) and url.scheme in ("https", "http") and url.user is None
    except ValueError:
        good = False
    if not good or (registry.scheme == "https" and url.scheme != "https"):
        raise RemoteInvalid(f"The registry wants to sign us in at {ascii(realm)[:200]}, which is not asked.")
    return url


def gets_credentials(registry: URL, realm: URL, auth_host: str = "") -> bool:
    """Whether the realm is told the credentials for the registry. `auth_host` is HOST or HOST:PORT."""
    if registry.scheme == "https" and realm.scheme != "https":
        return False
    if realm.host == registry.host and (realm.port == registry.port or realm.scheme == "https"):
        return True
    if auth_host and auth_host in (realm.host, f"{realm.host}:{realm.port}"):
        return True
    return realm.scheme == "https" and realm.explicit_port is None and _PAIRS.get(registry.host or "") == realm.host


class Authority:
    """Signs in to one registry, and remembers its tokens."""

    def __init__(self, registry: URL, credentials: Credentials, auth_host: str, ask: Ask) -> None:
        self._registry = registry
        self._credentials = credentials
        self._auth_host = auth_host
        self._ask = ask
        self._basic = credentials.at_once
        self._alone = asyncio.Lock()
        self._tokens: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self.withheld = ""  # the host of a realm that was not told the credentials

    def header(self, scope: str) -> dict[str, str]:
        """What to send along with a request to the registry itself."""
        if self._basic:
            return {"Authorization": self._credentials.basic}
        token, until = self._tokens.get(scope, ("", 0.0))
        return {"Authorization": f"Bearer {token}"} if time.monotonic() < until else {}

    async def challenged(self, headers: Sequence[str], scope: str, sent: Mapping[str, str]) -> bool:
        """The registry has answered 401 to `sent`: sign in anew; whether there is anything new to try.

        Raises RemoteError.
        """
        async with self._alone:
            now = self.header(scope)
            return (now != sent and bool(now)) or await self._signed_in(headers, scope)

    async def _signed_in(self, headers: Sequence[str], scope: str) -> bool:
        challenges = {one.scheme: one for one in parse_challenges(headers)}
        if bearer := challenges.get("bearer"):
            self._basic = False
            self._tokens.pop(scope, None)
            self._tokens[scope] = await self._token(bearer, scope)
            if len(self._tokens) > _REMEMBERED:
                self._tokens.popitem(last=False)
            return True
        if "basic" in challenges and self._credentials.basic and not self._basic:
            self._basic = True
            return True
        return False

    async def _token(self, challenge: Challenge, scope: str) -> tuple[str, float]:
        realm = checked_realm(self._registry, challenge.fields.get("realm", ""))
        known = gets_credentials(self._registry, realm, self._auth_host)
        if not known and (self._credentials.password or self._credentials.identity_token):
            self.withheld = realm.host or ""
        service, wanted = challenge.fields.get("service", ""), scope or challenge.fields.get("scope", "")
        if known and self._credentials.identity_token:
            form = {"grant_type": "refresh_token", "client_id": "lumper", "service": service, "scope": wanted}
            form["refresh_token"] = self._credentials.identity_token
            answer = await self._ask("POST", realm, {}, {name: value for name, value in form.items() if value})
        else:
            asked = [("service", service)] if service else []
            asked += [("scope", one) for one in wanted.split()]
            headers = {"Authorization": self._credentials.basic} if known and self._credentials.basic else {}
            answer = await self._ask("GET", realm.extend_query(asked), headers, None)
        return _read_token(answer)


def _read_token(answer: Mapping[str, object]) -> tuple[str, float]:
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise RemoteInvalid("The registry's token service gave no token.")
    told = answer.get("expires_in")
    seconds = float(told) if isinstance(told, int | float) and 0 < told < 1e9 else _SHORTEST
    return token, time.monotonic() + max(seconds, _SHORTEST) * 0.8
