"""The port that every build engine implements."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lumper.model.build import Progress


@dataclass(frozen=True)
class EngineInfo:
    """What an engine says of itself. `version` is free text such as `Docker 20.10.24`."""

    name: str
    version: str
    platform: str


@dataclass(frozen=True)
class BuildRequest:
    """What to build. `image` is the full name with tag under which the engine keeps the result for `push`.

    `dockerfile` is relative to the root of the context. `pull`: ask for base images anew, also for those that the
    engine has. `frontend` is the image that may read the Dockerfile if its `# syntax=` line asks for it; without
    one, the engine reads it by itself, whatever that line says. `entitlements` are BuildKit's names of rights.
    """

    id: str
    image: str
    dockerfile: str = "Dockerfile"
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    pull: bool = False
    frontend: str = ""
    entitlements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Login:
    """Credentials for the registry that the image's name points at."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Pushed:
    """The manifest that now lies in the registry. `size` is that of the manifest alone, in bytes."""

    digest: str
    size: int


Report = Callable[[Progress], None]


class Engine(Protocol):
    """What executes a Dockerfile. Methods may run at the same time; cancelling the awaiting task cancels the work."""

    async def info(self) -> EngineInfo:
        """Ask the engine for its version. Raises EngineUnavailable."""

    async def build(self, request: BuildRequest, context: AsyncIterator[bytes], report: Report) -> None:
        """Build the tar stream `context`; call `report` for every step and every line of output, in order.

        Step numbers go up from 1 in the order in which steps are first seen. When the awaiting task is cancelled, the
        program that a RUN step executes is gone before this returns.
        Raises BuildFailed (with step and exit code), FrontendUnavailable, BuildRefused, DockerfileMissing,
        EngineUnavailable.
        """

    async def push(self, image: str, login: Login | None, report: Report) -> Pushed:
        """Push an image that `build` made to the registry in its name. Raises PushFailed, EngineUnavailable."""

    async def remove(self, image: str) -> None:
        """Forget the image's name; the build cache stays. No error if there is none. Raises EngineUnavailable."""

    async def images(self, prefix: str) -> list[str]:
        """All names with tag that the engine keeps and that begin with `prefix`. Raises EngineUnavailable."""

    async def close(self) -> None:
        """Close connections. Idempotent."""
