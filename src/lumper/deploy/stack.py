"""Stacks and their releases. Pure.

A stack is one or more services that are released together. A release is a stack with every image as a digest, and a
generation number that grows with every release of the stack; it never changes. Today's `[deploy]` makes a stack of one
service that bears the service's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from lumper.errors import ReleaseRefused
from lumper.model.deployment import Release, Service
from lumper.model.images.image import is_digest

StackName = str


@dataclass(frozen=True)
class Image:
    """An image by digest. `repository` has the registry's host in it, as the hosts pull it."""

    repository: str
    digest: str

    @property
    def reference(self) -> str:
        """`repository@digest`."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True)
class Stack:
    """Services that are released together."""

    name: StackName
    services: tuple[Service, ...]

    @property
    def config_hash(self) -> str:
        """A short hash of everything but the images; the order of the services does not matter."""
        return _hash({service.name: service.config_hash for service in self.services})


@dataclass(frozen=True)
class StackRelease:
    """A stack with the image of each service, by the service's name. Raises ReleaseRefused if they do not match."""

    stack: Stack
    images: Mapping[str, Image]
    generation: int
    version: str = ""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def fingerprint(self) -> str:
        """A short hash of digests and configuration: two releases with the same one run the same."""
        return _hash({service.name: self._identity(service) for service in self.stack.services})

    @property
    def services(self) -> tuple[Release, ...]:
        """The release of each service, as the engine of one host runs it."""
        return tuple(
            Release(service, image.repository, image.digest, self.generation, self.version)
            for service in self.stack.services
            for image in (self.images[service.name],)
        )

    def _identity(self, service: Service) -> list[str]:
        return [service.config_hash, self.images[service.name].digest]


def stack_release(release: Release) -> StackRelease:
    """The release of a stack of one service, from the release that a recipe's [deploy] asks for."""
    service = release.service
    image = Image(release.image, release.digest)
    return StackRelease(Stack(service.name, (service,)), {service.name: image}, release.generation, release.version)


def _check(release: StackRelease) -> None:
    names = [service.name for service in release.stack.services]
    if not names:
        raise ReleaseRefused(f"The stack {release.stack.name} has no service.", hint="Add one to lumper.toml.")
    if len(set(names)) < len(names):
        raise ReleaseRefused(f"Two services of the stack {release.stack.name} have the same name.")
    if set(names) != set(release.images):
        without = ", ".join(sorted(set(names) ^ set(release.images)))
        raise ReleaseRefused(f"Services and images of {release.stack.name} do not match: {without}.")
    for image in release.images.values():
        if not is_digest(image.digest):
            raise ReleaseRefused(f"{image.reference!r} is not an image by digest.", hint="Release a built image.")
    if release.generation < 1:
        raise ReleaseRefused(f"{release.generation} is no generation: they begin with 1.")


def _hash(value: Mapping[str, object]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
