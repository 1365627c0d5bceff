"""What the sender of a request to the registry may do, and how the registry asks for other credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiohttp import web

from lumper.errors import LumperError
from lumper.model.images.image import is_repository
from lumper.model.people.rights import Rights
from lumper.registry.access import DATA, PULL, PUSH, may_list, may_write_tag
from lumper.registry.errors import refuse
from lumper.web.auth.authenticator import Authenticator, TokenScope
from lumper.web.oci.address import Address, Kind

CATALOG = "registry:catalog"
_CLASS = re.compile(r"^repository\([a-z0-9]+\):")
_MOST_SCOPES = 100


class Challenge(LumperError):
    """Sign in first, such as by `docker login`.

    `scope` is what a token has to cover, `error` is "" or one of RFC 6750, section 3.1.
    """

    def __init__(self, scope: str, error: str = "", message: str = "") -> None:
        self.scope = scope
        self.error = error
        super().__init__(message)


@dataclass(frozen=True)
class Caller:
    """The sender of a request: who it is and how far it reaches, and what anyone may do."""

    reach: TokenScope
    anonymous: Rights

    @property
    def owner(self) -> str:
        """The same text for all requests of one identity, for uploads that only their owner may continue."""
        identity = self.reach.identity
        return f"{identity.role}:{identity.name}" if identity else ""

    @property
    def rights(self) -> Rights:
        """What the sender may do, with whatever credentials."""
        return self.reach.identity.rights if self.reach.identity else self.anonymous

    @property
    def _name(self) -> str:
        return self.reach.identity.name if self.reach.identity else "anonymous"

    def may(self, repository: str, action: str) -> bool:
        """Whether this is allowed with the credentials that came."""
        return self.reach.reaches(f"repository:{repository}", action) and self.rights.allow(repository, action)

    def limited_to(self) -> list[str] | None:
        """The repositories that the credentials themselves name; None if they name none and reach everywhere."""
        if self.reach.access is None:
            return None
        return [resource.removeprefix("repository:") for resource in self.reach.access if resource != CATALOG]

    def check(self, repository: str, action: str, scope: str) -> None:
        """Raise Challenge, for `scope`, if other credentials may help, RegistryError DENIED if none will."""
        if self.may(repository, action):
            return
        if self.rights.allow(repository, action):
            raise Challenge(scope, "insufficient_scope", f"The token is not for this: it takes one for {scope}.")
        if self.reach.identity is None:  # with a token, the error ends the client's tries: RFC 6750, section 3.1
            raise Challenge(scope, "insufficient_scope" if self.reach.access is not None else "")
        raise refuse("DENIED", f"{self._name} may not {action} in {repository}.{self._way(repository, action)}")

    def _way(self, repository: str, action: str) -> str:
        """What may help who was denied, for a person at a client that shows these words and no others."""
        identity = self.reach.identity
        if identity is None or not identity.account:
            return ""
        if identity.limits is not None:
            return " The token reaches less far than its owner may: sign in with another one."
        return f" An admin can grant it: `lumper grant add {identity.name} {repository} --allow {action}`."

    def check_catalog(self) -> None:
        """Like `check`, for the list of repositories; it has those that the caller may pull."""
        if self.reach.identity is None:
            raise Challenge(f"{CATALOG}:*")
        if not may_list(self.reach.identity):
            raise refuse("DENIED", f"{self._name} may not list repositories.")
        if not self.reach.reaches(CATALOG, "*"):
            raise Challenge(f"{CATALOG}:*", "insufficient_scope")

    def check_tag(self, tag: str) -> None:
        """Raise RegistryError DENIED if this tag is not the caller's to move or remove."""
        if not may_write_tag(self.reach.identity, tag):
            raise refuse("DENIED", f"{self._name} may not write the tag {tag}.")

    def reachable(self, scopes: list[str]) -> dict[str, frozenset[str]]:
        """As much of what is asked for as the rights allow, by resource. What is not understood is passed over."""
        found: dict[str, frozenset[str]] = {}
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, asked = rest.rpartition(":")
            wanted = frozenset(asked.split(","))
            if kind == "repository" and is_repository(name):
                allowed = self.rights.actions(name) & DATA
                granted: frozenset[str] = allowed if "*" in wanted else allowed & wanted
            elif f"{kind}:{name}" == CATALOG and "*" in wanted and may_list(self.reach.identity):
                granted = frozenset({"*"})
            else:
                continue
            found[f"{kind}:{name}"] = found.get(f"{kind}:{name}", frozenset()) | granted
        return {resource: granted for resource, granted in found.items() if granted}


def scope_of(repository: str, action: str) -> str:
    """The scope to ask a token for; who pushes also looks what is there."""
    return f"repository:{repository}:{'pull,push' if action == PUSH else action}"


def scope_for(method: str, address: Address, action: str) -> str:
    """The scope to ask a token for where `action` is needed.

    Who asks for a blob by HEAD looks before a push, and some clients (oras for Python) push with the token that they
    got for that look. A token never holds more than its owner's rights.
    """
    looks = method == "HEAD" and address.kind is Kind.BLOB and action == PULL
    return scope_of(address.repository, PUSH if looks else action)


def asked_scopes(parameters: list[str]) -> list[str]:
    """The scopes of a token request: the parameter may come more than once and hold several, by spaces.

    A repository's class, as the Docker Engine tells it of its plugins, gives no other rights. Source: distribution,
    "Token scope documentation", "Resource class".
    """
    return [_CLASS.sub("repository:", scope) for scope in " ".join(parameters).split()[:_MOST_SCOPES]]


def bearer_challenge(request: web.Request, authenticator: Authenticator, public_url: str, challenge: Challenge) -> str:
    """The WWW-Authenticate header. Source: distribution's "Token authentication specification"."""
    fields = {"realm": f"{origin(request, public_url)}/v2/token", "service": authenticator.service}
    if challenge.scope:
        fields["scope"] = challenge.scope
    if challenge.error:
        fields["error"] = challenge.error
    return "Bearer " + ",".join(f'{name}="{value}"' for name, value in fields.items())


def origin(request: web.Request, public_url: str) -> str:
    """Scheme and host under which the client reaches us: as configured, else as it has asked for.

    A proxy in front that ends TLS is believed whoever it is, or clients would send passwords past it in the clear: who
    makes that up sends only himself elsewhere.
    """
    if public_url:
        return public_url.rstrip("/")
    scheme = "https" if request.headers.get("X-Forwarded-Proto", "").lower() == "https" else request.scheme
    return f"{scheme}://{request.host or 'localhost'}"
