"""Which digest an image has at its registry at the moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from lumper.model.builds.secrets import registry_host
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.reference import parse_reference
from lumper.registry.remote.registry import RemoteRegistry

Open = Callable[[str, Credentials | None], RemoteRegistry]
"""From a registry's URL to the registry; without credentials it has those that all builds have."""

OwnDigest = Callable[[str, str], Awaitable[str]]
"""From a repository of our own and a tag or digest to the digest, "" if there is none. Raises RegistryError."""

LoginOf = Callable[[str, str], Awaitable[tuple[str, str] | None]]
"""From a project's id and a registry's host to user name and password."""


class Lookup:
    """Asks the registries that the names of images tell of; our own is known by its names."""

    def __init__(self, open_registry: Open, login_of: LoginOf, own_digest: OwnDigest, own: Collection[str]) -> None:
        self._open = open_registry
        self._login_of = login_of
        self._own_digest = own_digest
        self._own = own

    def own_repository(self, image: str) -> str:
        """The repository of an image in our own registry, "" for one that is elsewhere."""
        host, _, rest = image.partition("/")
        return rest.partition("@")[0].partition(":")[0] if host in self._own else ""

    async def digest(self, image: str, project_id: str) -> str:
        """The digest behind `HOST/NAME:TAG`, as a project's builds would get it; "" if the registry does not tell it.

        Raises RemoteError, RegistryError, StorageError, Invalid.
        """
        reference = parse_reference(f"docker://{image}")
        if self.own_repository(image):
            return await self._own_digest(reference.repository, reference.name)
        login = await self._login_of(project_id, registry_host(reference.url))
        registry = self._open(reference.url, Credentials(*login) if login else None)
        try:
            return await registry.digest(reference.repository, reference.name)
        finally:
            await registry.close()
