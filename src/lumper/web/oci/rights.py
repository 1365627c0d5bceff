"""What the sender of a request to the registry may do, and how the registry asks for other credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiohttp import web

from lumper.errors import LumperError
from lumper.model.image import is_repository
from lumper.model.people import Role
from lumper.registry.access import (
    PUSH,
    Anonymous,
    actions,
    anonymous_actions,
    may_list_repositories,
    may_write_tag,
)
from lumper.registry.errors import refuse
from lumper.web.auth import Authenticator, Grant

CATALOG = "registry:catalog"
_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")
_MOST_SCOPES = 100


class Challenge(LumperError):
    """Sign in first.

    `scope` is what a token has to cover, `error` is "" or one of RFC 6750, section 3.1.
    """

    def __init__(self, scope: str, error: str = "", message: str = "") -> None:
        self.scope = scope
        self.error = error
        super().__init__(message)


@dataclass(frozen=True)
class Caller:
    """The sender of a request: a grant, and what anyone may do."""

    grant: Grant
    anonymous: Anonymous

    @property
    def owner(self) -> str:
        """The same text for all requests of one identity, for uploads that only their owner may continue."""
        identity = self.grant.identity
        return f"{identity.role}:{identity.name}" if identity else ""

    @property
    def _role(self) -> Role | None:
        return self.grant.identity.role if self.grant.identity else None

    def _allowed(self) -> frozenset[str]:
        if self._role is not None:
            return actions(self._role)
        return anonymous_actions(self.anonymous)

    def may(self, repository: str, action: str) -> bool:
        """Whether this is allowed with the credentials that came."""
        return action in self._allowed() and self.grant.reaches(f"repository:{repository}", action)

    def limited_to(self) -> list[str] | None:
        """The repositories that the credentials themselves name; None if they name none and reach everywhere."""
        if self.grant.access is None:
            return None
        return [resource.removeprefix("repository:") for resource in self.grant.access if resource != CATALOG]

    def check(self, repository: str, action: str, scope: str) -> None:
        """Raise Challenge, for `scope`, if other credentials may help, RegistryError DENIED if none will."""
        if action not in self._allowed():
            if self.grant.identity is None:
                raise Challenge(scope)
            raise refuse("DENIED", f"The role {self._role} may not {action} in the registry.")
        if not self.may(repository, action):
            raise Challenge(scope, "insufficient_scope")

    def check_catalog(self) -> None:
        """Like `check`, for the list of all repositories."""
        if self._role is None:
            raise Challenge(f"{CATALOG}:*")
        if not may_list_repositories(self._role):
            raise refuse("DENIED", f"The role {self._role} may not list all repositories.")
        if not self.grant.reaches(CATALOG, "*"):
            raise Challenge(f"{CATALOG}:*", "insufficient_scope")

    def check_tag(self, tag: str) -> None:
        """Raise RegistryError DENIED if this tag is not the caller's to move or remove."""
        if not may_write_tag(self._role, tag):
            raise refuse("DENIED", f"The role {self._role or 'anonymous'} may not write the tag {tag}.")

    def reachable(self, scopes: list[str]) -> dict[str, frozenset[str]]:
        """As much of what is asked for as the role allows, by resource. What is not understood is passed over."""
        found: dict[str, frozenset[str]] = {}
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, asked = rest.rpartition(":")
            wanted = frozenset(asked.split(","))
            if kind == "repository" and is_repository(name):
                granted = self._allowed() if "*" in wanted else self._allowed() & wanted
            elif f"{kind}:{name}" == CATALOG and "*" in wanted and self._role and may_list_repositories(self._role):
                granted = frozenset({"*"})
            else:
                continue
            found[f"{kind}:{name}"] = found.get(f"{kind}:{name}", frozenset()) | granted
        return {resource: granted for resource, granted in found.items() if granted}


def scope_of(repository: str, action: str) -> str:
    """The scope to ask a token for; who pushes also looks what is there."""
    return f"repository:{repository}:{'pull,push' if action == PUSH else action}"


def asked_scopes(parameters: list[str]) -> list[str]:
    """The scopes of a token request: the parameter may come more than once and hold several, by spaces."""
    return " ".join(parameters).split()[:_MOST_SCOPES]


def bearer_challenge(request: web.Request, authenticator: Authenticator, public_url: str, challenge: Challenge) -> str:
    """The WWW-Authenticate header. Source: distribution's "Token authentication specification"."""
    fields = {"realm": f"{origin(request, public_url)}/v2/token", "service": authenticator.service}
    if challenge.scope:
        fields["scope"] = challenge.scope
    if challenge.error:
        fields["error"] = challenge.error
    return "Bearer " + ",".join(f'{name}="{value}"' for name, value in fields.items())


def origin(request: web.Request, public_url: str) -> str:
    """Scheme and host under which the client reaches us: as configured, else as it has asked for."""
    if public_url:
        return public_url.rstrip("/")
    host = request.host if _HOST.fullmatch(request.host) else "localhost"
    return f"{request.scheme}://{host}"
