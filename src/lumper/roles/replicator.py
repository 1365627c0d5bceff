"""Copies of a build's image to other registries, by our own client for them."""

from __future__ import annotations

from collections.abc import Callable

from lumper.build.port import Login
from lumper.build.replication import BuiltImage, Elsewhere
from lumper.model.addresses import registry_url
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.reference import parse_reference
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.transfer.copy import Copier
from lumper.registry.transfer.source import RemoteSource


class _Told:
    """Tells what became of each blob."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def found(self, digest: str, size: int) -> None:
        """A blob belongs to the image."""

    def went(self, digest: str, count: int) -> None:
        """Some of its bytes were sent."""

    def done(self, digest: str, how: str) -> None:
        """It is there."""
        self._say(f"{digest.partition(':')[2][:12]}: {how}")


class Replicator:
    """Copies from the registry at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def copy(self, image: BuiltImage, place: Elsewhere, say: Callable[[str], None]) -> None:
        """Copy an image with all its platforms, and let all tags point at it. Raises RemoteError."""
        host, _, path = place.repository.partition("/")
        reference = parse_reference(f"{registry_url(host)}/{path}")
        own, other = _registry(self._url, image.login), _registry(reference.url, place.login)
        try:
            source, copier = RemoteSource(own, image.repository, image.digest), Copier(other)
            for tag in place.tags:
                await copier.copy(source, reference.repository, tag, _Told(say))
        finally:
            await own.close()
            await other.close()


def _registry(url: str, login: Login) -> RemoteRegistry:
    return RemoteRegistry(url, Credentials(login.username, login.password))
