"""The port that every kind of host implements."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass, field
from typing import Protocol

from lumper.model.deployment import Container, Release


@dataclass(frozen=True)
class Login:
    """Credentials for the registry that a release's image lies in."""

    username: str
    password: str = field(repr=False)


Credentials = Callable[[str], Awaitable[Login | None]]
"""From an image's repository (with its registry host) to credentials that may pull it."""


class Host(Protocol):
    """A machine that runs containers. Methods may run at the same time for different services."""

    @property
    def name(self) -> str:
        """The name of the host, unique within Lumper."""

    async def containers(self, service: str | None = None) -> list[Container]:
        """All containers that Lumper made here (of one service), running or not. Raises HostUnavailable."""

    async def pull(self, release: Release, login: Login | None) -> None:
        """Have the image by its digest. Raises ReleaseRefused, HostUnavailable."""

    async def start(self, release: Release, *, trial: bool = False) -> Container:
        """Create and start a container that is not accepted yet: when it ends, it stays ended.

        A trial publishes its ports on free ports of loopback only. A refused start leaves nothing behind.
        Raises ReleaseRefused, HostUnavailable.
        """

    async def accept(self, container_id: str) -> None:
        """From now on keep it running, through crashes and reboots.

        Raises ReleaseRefused (it is gone), HostUnavailable.
        """

    async def restart(self, container_id: str) -> None:
        """Start a stopped container again. Raises ReleaseRefused, HostUnavailable."""

    async def inspect(self, container_id: str) -> Container | None:
        """The container as it is now, or None. Raises HostUnavailable."""

    async def probe(self, container: Container, port: int, path: str, timeout: float) -> int:
        """The status that GET `path` at the container's `port` answers with, as the host reaches it.

        Redirects are not followed. Raises ReleaseUnhealthy (no answer within `timeout` seconds).
        """

    async def execute(self, container_id: str, command: tuple[str, ...], timeout: float) -> int:
        """Run a command inside; its exit code.

        Raises ReleaseUnhealthy (it cannot be run or takes longer than `timeout` seconds), HostUnavailable.
        """

    async def logs(self, container_id: str, lines: int) -> str:
        """The last lines that the container printed. Raises HostUnavailable."""

    async def stop(self, container_id: str, timeout: float) -> None:
        """Ask it to end, kill it after `timeout` seconds. No error if it is gone. Raises HostUnavailable."""

    async def remove(self, container_id: str) -> None:
        """Remove it, stopped or not. No error if it is gone. Raises HostUnavailable."""

    async def prune(self, image: str, keep: Set[str]) -> list[str]:
        """Remove what the host has of the repository `image` except the digests to `keep`; the digests removed.

        Images that a container uses, or that also have another name, stay. Raises HostUnavailable.
        """

    async def close(self) -> None:
        """Close connections. Idempotent."""
