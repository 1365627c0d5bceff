"""Which repository a client means that takes us for a mirror of another registry.

containerd and BuildKit ask a mirror for `library/alpine?ns=docker.io`: that is our `docker.io/library/alpine`. The
Docker Engine's `registry-mirrors` asks for `library/alpine` only: if there is no such repository here, that is the one
of the upstream which is the default. Who pushes asks for the same, to see what need not be sent, and is told of what is
here only: no upstream hears of it, or holds it up when it is away. To tell the two apart, whoever comes without
credentials is first sent for a token. Source: containerd, docs/hosts.md, "Registry Host Namespace".
"""

from __future__ import annotations

from aiohttp import web

from lumper.errors import LumperError
from lumper.model.images.image import is_repository
from lumper.registry.access import PULL, PUSH
from lumper.registry.errors import refuse
from lumper.registry.listings import Listings
from lumper.registry.ttl_cache import TtlCache
from lumper.registry.upstream.upstreams import Upstreams
from lumper.web.auth.authenticator import Authenticator
from lumper.web.oci.address import Address, Kind
from lumper.web.oci.rights import Challenge, scope_for

_READ = {Kind.MANIFEST, Kind.BLOB, Kind.TAGS, Kind.REFERRERS}
_REMEMBERED = 16_384
NAMESPACE = web.RequestKey("namespace", str)
_SECONDS = 1.0  # that a name is believed to be none of ours: another process may make it so


class Namespaces:
    """Finds the repository that is meant. Rights are asked for that one."""

    def __init__(self, upstreams: Upstreams, listings: Listings, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._upstreams = upstreams
        self._listings = listings
        self._ours: set[str] = set()  # repositories are never removed
        self._not_ours = TtlCache[bool]()

    async def resolved(self, request: web.Request, address: Address) -> Address:
        """The address with the repository that is meant.

        Raises RegistryError NAME_UNKNOWN, NAME_INVALID; Challenge.
        """
        if address.kind not in _READ or request.method not in ("GET", "HEAD"):
            self.pushed(address.repository)
            return address
        namespace = request.query.get("ns", "")
        if not namespace or namespace == request.host:
            meant = await self._by_default(address.repository)
            if meant is None or await self._pushes(request, address):
                return address
            return address._replace(repository=meant)
        upstream = self._upstreams.named(namespace)
        if upstream is None:  # another registry's image of the same name would be a wrong answer
            raise refuse("NAME_UNKNOWN", f"No upstream has the prefix {ascii(namespace)[1:-1][:200]}.")
        request[NAMESPACE] = namespace
        return address._replace(repository=_checked(f"{upstream.prefix}/{address.repository}"))

    def pushed(self, repository: str) -> None:
        """Somebody pushes there: it may be one of ours in a moment."""
        self._not_ours.forget(repository)

    async def scopes(self, asked: list[str]) -> list[str]:
        """What is asked for, and besides what it stands for: the Docker Engine does not know of our names."""
        more = []
        for scope in asked:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            known = kind == "repository" and is_repository(name) and PULL in actions.split(",")
            if known and (meant := await self._by_default(name)):
                more.append(f"repository:{meant}:{PULL}")
        return [*asked, *more]

    async def _pushes(self, request: web.Request, address: Address) -> bool:
        """Whether this is a look at what is here before a push. Raises Challenge if nobody can tell yet."""
        try:
            reach = await self._authenticator.reach(request)
        except LumperError:  # who that is, is asked again where it counts
            return False
        if reach is None:
            raise Challenge(scope_for(request.method, address, PULL))
        if reach.access is None:  # a password each time, which says nothing; who pulls asks for the blob itself
            return address.kind is Kind.BLOB and request.method == "HEAD"
        return PUSH in reach.access.get(f"repository:{address.repository}", ())

    async def _by_default(self, repository: str) -> str | None:
        default = self._upstreams.default
        if default is None or repository in self._ours or self._upstreams.of(repository) is not None:
            return None
        if repository not in self._not_ours:
            if await self._listings.exists(repository):
                if len(self._ours) < _REMEMBERED:
                    self._ours.add(repository)
                return None
            self._not_ours.keep(repository, True, _SECONDS)
        meant = f"{default.prefix}/{repository}"
        return meant if is_repository(meant) and default.serves(meant) else None


def namespace_headers(request: web.Request) -> dict[str, str]:
    """What tells by which `ns` a request was understood: distribution-spec 1.1, "Registry Proxying"."""
    return {"OCI-Namespace": request[NAMESPACE]} if NAMESPACE in request else {}


def _checked(repository: str) -> str:
    if not is_repository(repository):
        raise refuse("NAME_INVALID")
    return repository
