"""The port that every build engine implements."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from lumper.model.builds.build import Base, Progress


class Capability(StrEnum):
    """What not every engine can. The values stand in messages: "this engine has no VALUE"."""

    PLATFORMS = "images for several platforms"
    SECRETS = "secrets"
    SSH = "forwarded ssh agents"
    LOGINS = "credentials for base images"
    CACHE_IMPORT = "import of build caches"
    CACHE_EXPORT = "export of build caches"
    CACHE_INLINE = "caches within images"
    NETWORK_NONE = "builds without a network"
    NETWORK_HOST = "builds in the host's network"
    LIMITS = "limits of memory and CPUs"
    ATTESTATIONS = "attestations of its own"
    REWRITE_TIMESTAMP = "rewriting of timestamps"
    DOCKERFILE_APART = "Dockerfiles that the ignore file leaves out"


@dataclass(frozen=True)
class EngineInfo:
    """What an engine says of itself. `version` is free text such as `Docker 20.10.24`."""

    name: str
    version: str
    platform: str
    capabilities: frozenset[Capability] = frozenset()


@dataclass(frozen=True)
class Login:
    """Credentials for a registry. `own`: for Lumper's, which takes them with each request and checks each manifest."""

    username: str
    password: str = field(repr=False)
    own: bool = False


@dataclass(frozen=True)
class Cache:
    """A build cache outside of the engine.

    `type` and `attributes` are BuildKit's: `registry` with `ref`, `inline` with none. Folders are not taken: whose they
    would be, a repository must not say.
    Source: moby/buildkit, README, "Export cache".
    """

    type: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """What each step of a build may use at most; 0: no limit. `memory` is in bytes, `cpus` in whole CPUs and parts."""

    memory: int = 0
    cpus: float = 0.0


@dataclass(frozen=True)
class ContextEntry:
    """A file, folder or symbolic link (to `link`) of a context. `mode` is as in stat(2), `size` in bytes, `time` in
    seconds since 1970. `content` is a name that only files with the same bytes have, where there is one."""

    path: str
    mode: int
    time: int
    size: int = 0
    link: str = ""
    uid: int = 0
    gid: int = 0
    content: str = field(default="", compare=False)


class Files(Protocol):
    """A context whose files can be had one by one, so that an engine needs only those that the build copies.

    Every method raises SourceError, and NotOneByOne.
    """

    @property
    def key(self) -> str:
        """A name of this context: all of a name are the same."""

    @property
    def time(self) -> int | None:
        """The time of all files, in seconds since 1970; None if they have several."""

    async def folders(self, paths: Sequence[str]) -> Sequence[Mapping[str, ContextEntry]]:
        """What folders have, by name; "" is the root. Those around a folder are to be asked for before it."""

    async def sized(self, entries: Sequence[ContextEntry]) -> Sequence[ContextEntry]:
        """The same with their sizes."""

    def read(self, paths: Sequence[str]) -> AsyncGenerator[bytes]:
        """The bytes of these files, in pieces; an empty one ends each file."""


class NotOneByOne(Exception):
    """Only the stream has these files as they should be."""


@dataclass(frozen=True)
class BuildRequest:
    """What to build. `image` is the full name with tag under which the engine keeps the result for `push`.

    `dockerfile` is relative to the root of the stream. `context_folder` is the folder of the stream that is the
    context; beside it lies only the Dockerfile. "" is all of the stream. `files` are what is in the stream, where
    it is quicker to have them one by one. `pull`: ask for base images anew, also for those that the engine has.
    `frontend` is the image that may read the Dockerfile if its `# syntax=` line asks for it; without one, the
    engine reads it by itself, whatever that line says. `entitlements` are BuildKit's names of rights. `bases` are
    digests that base images are to have, where the engine can pin them.

    `platforms` are OS/ARCH[/VARIANT]; none: the engine's own. `secrets` are by their id in `RUN --mount=type=secret`;
    `ssh` maps the id in `RUN --mount=type=ssh` to the socket of an agent on the worker. `logins` are by registry host,
    `docker.io` for Docker Hub, for base images and caches. `network` is the one of RUN steps: "" the engine's default,
    `none`, or `host`. `provenance` ("", `min`, `max`) and `sbom` ask for BuildKit's own attestations, which make an
    index of every image. `rewrite_timestamp` gives all files of new layers the time in the argument SOURCE_DATE_EPOCH,
    at most. `cache_mounts` is a namespace: only builds with the same one share the caches of `RUN --mount=type=cache`.
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
    bases: tuple[Base, ...] = ()
    platforms: tuple[str, ...] = ()
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    ssh: Mapping[str, str] = field(default_factory=dict)
    logins: Mapping[str, Login] = field(default_factory=dict)
    cache_from: tuple[Cache, ...] = ()
    cache_to: tuple[Cache, ...] = ()
    network: str = ""
    limits: Limits = field(default_factory=Limits)
    provenance: str = ""
    sbom: bool = False
    rewrite_timestamp: bool = False
    cache_mounts: str = ""
    context_folder: str = ""
    files: Files | None = field(default=None, repr=False, compare=False)


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

        An engine may take `request.files` instead, and raises NotOneByOne where only the stream will do. Step numbers
        go up from 1 in the order in which steps are first seen. When the awaiting task is cancelled, the program that
        a RUN step executes is gone before this returns.
        Raises BuildFailed (with step and exit code), FrontendUnavailable, BuildRefused, DockerfileMissing,
        EngineUnavailable.
        """

    async def push(self, image: str, login: Login | None, report: Report) -> Pushed:
        """Push an image that `build` made to the registry in its name. Raises PushFailed, EngineUnavailable."""

    async def remove(self, image: str) -> None:
        """Forget the image's name; the build cache stays. No error if there is none. Raises EngineUnavailable."""

    async def images(self, prefix: str) -> list[str]:
        """All names with tag that the engine keeps and that begin with `prefix`. Raises EngineUnavailable."""

    async def cache_size(self) -> int:
        """The bytes that the engine keeps only so that builds are quicker. Raises EngineUnavailable."""

    async def prune(self, keep: int) -> int:
        """Let go of what was used longest ago, until the cache holds `keep` bytes; the bytes that became free.

        What a running build uses stays. Raises EngineUnavailable.
        """

    async def close(self) -> None:
        """Close connections. Idempotent."""
