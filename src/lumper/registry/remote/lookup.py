"""Which digest an image has at its registry at the moment."""

from __future__ import annotations

from collections.abc import Callable

from lumper.registry.remote.reference import parse_reference
from lumper.registry.remote.registry import RemoteRegistry

Open = Callable[[str], RemoteRegistry]
"""From a registry's URL to the registry, with the credentials that are known for it."""


class Lookup:
    """Asks the registries that the names of images tell of."""

    def __init__(self, open_registry: Open) -> None:
        self._open = open_registry

    async def digest(self, image: str) -> str:
        """The digest behind `HOST/NAME:TAG`, "" if the registry does not tell it. Raises RemoteError, Invalid."""
        reference = parse_reference(f"docker://{image}")
        registry = self._open(reference.url)
        try:
            return await registry.digest(reference.repository, reference.name)
        finally:
            await registry.close()
