"""What a push needs of the registry that it goes to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from lumper.build.port import Login


class Target(Protocol):
    """A registry. Every method raises RemoteError."""

    async def blob_size(self, repository: str, digest: str, *, to_push: bool = False) -> int | None:
        """The bytes of a blob that the repository has; None if it does not."""

    async def mount(self, repository: str, digest: str, source: str) -> bool:
        """Let the repository have a blob of another one; whether that was done."""

    async def push_blob(
        self, repository: str, digest: str, size: int, content: Callable[[], AsyncIterator[bytes]]
    ) -> None:
        """Send a blob of `size` bytes."""

    async def push_stream(self, repository: str, content: AsyncIterator[bytes], digest: Callable[[], str]) -> None:
        """Send a blob whose digest is known when all its bytes are."""

    async def put_manifest(self, repository: str, reference: str, body: bytes, media_type: str) -> str:
        """Send a manifest; its digest."""

    async def close(self) -> None:
        """End all connections."""


OpenTarget = Callable[[str, Login | None], Target]
"""From the registry's URL and the login to it."""
