"""Where an image comes from: from its digest to the commit, the build and the pusher, and what lies beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from aiohttp import web

from lumper.errors import NotFound, SourceRefused
from lumper.line.history import History
from lumper.model.builds.build import Build
from lumper.model.builds.verification import Verification
from lumper.model.images.activity import Actor
from lumper.model.people.people import GRANTED, PEOPLE, Role
from lumper.model.source import parse_git_url
from lumper.registry.attest.store import Attestations, Beside
from lumper.registry.contents.platforms import Platform, platforms_of
from lumper.registry.reference import Reference
from lumper.registry.registry import Registry
from lumper.web.api.answers import answer
from lumper.web.api.builds.builds import shown_build
from lumper.web.api.guard import Guard, identity_of
from lumper.web.api.images.references import reference_of
from lumper.web.api.openapi import describe, like
from lumper.web.api.schemas import ShownBuild
from lumper.web.statements import manifest_of


@dataclass(frozen=True)
class Origin:
    """All that is known of an image. `build` is None for one that no build here has made; `size` with all layers.

    `source` is the git repository of the build; `pusher` who has pushed what no build has made. `verification` tells
    whether it came out once more when it was built again, None if nobody asked for that.
    """

    repository: str
    digest: str
    media_type: str
    size: int
    pushed_at: datetime
    tags: list[str] = field(default_factory=list)
    platforms: list[Platform] = field(default_factory=list)
    build: Build | None = None
    beside: list[Beside] = field(default_factory=list)
    verification: Verification | None = None
    source: str = ""
    pusher: Actor | None = None


@dataclass(frozen=True)
class PublicKey:
    """What verifies signatures, as PEM; `id` is the digest of its DER form."""

    public_key: str
    id: str


_ORIGIN: Any = like(Origin, "Origin", without=("build",), build=ShownBuild | None)


class Origins:
    """Finds out where images come from."""

    def __init__(self, history: History, registry: Registry, attestations: Attestations) -> None:
        self._history = history
        self._registry = registry
        self._attestations = attestations

    async def of(self, reference: Reference) -> Origin:
        """Where the image comes from that a tag or digest names. Raises NotFound."""
        manifest = await manifest_of(self._history.images, reference)
        repository, digest = reference.repository, manifest.digest
        build = await self._history.origins.build_of(repository, digest)
        return Origin(
            repository,
            digest,
            manifest.media_type,
            manifest.total,
            manifest.created_at,
            await self._history.origins.tags_of(repository, digest),
            await platforms_of(self._registry, repository, manifest),
            build,
            await self._attestations.beside(repository, manifest),
            await self._history.verifications.of(build) if build else None,
            await self._source(build) if build else "",
            None if build else await self._history.activity.pusher(repository, digest),
        )

    async def _source(self, build: Build) -> str:
        """The URL of the build's git repository, without credentials."""
        try:
            return parse_git_url((await self._history.projects.get(build.project)).url).url
        except (NotFound, SourceRefused):
            return ""

    @describe(_ORIGIN)
    async def inspect(self, request: web.Request) -> web.Response:
        """Where an image comes from: commit, build, pusher, platforms, layers, and what lies beside it."""
        found = await self.of(reference_of(request))
        if found.pusher and identity_of(request).role not in PEOPLE:  # where people are is not for everybody
            found = replace(found, pusher=replace(found.pusher, address=""))
        return answer({**vars(found), "build": shown_build(found.build) if found.build else None})

    @describe(PublicKey)
    async def key(self, _request: web.Request) -> web.Response:
        """The public key with which images and what is told of them are signed here, as PEM."""
        return answer(PublicKey(self._attestations.public_key, self._attestations.key_id))


def add_routes(app: web.Application, guard: Guard, origins: Origins) -> None:
    """Serve the part of the API about where images come from."""
    inspect = guard.allowed(origins.inspect, *PEOPLE, *GRANTED)
    app.router.add_get("/api/v1/inspect/{reference:.*}", inspect, allow_head=False)
    app.router.add_get("/api/v1/registry/key", guard.allowed(origins.key, *Role), allow_head=False)
