"""One image: what is in it, what refers to it, what made it, and where it runs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from lumper.errors import NotFound, StorageError
from lumper.line.history import History
from lumper.model.builds.build import Attested, Build
from lumper.model.deployment import Container
from lumper.model.images.activity import Activity
from lumper.model.images.image import IN_TOTO, PREDICATE, Manifest, Referrer
from lumper.model.people.people import PEOPLE
from lumper.model.people.rights import Action
from lumper.registry.attest.provenance import PROVENANCE
from lumper.registry.attest.store import MOST_LISTED
from lumper.registry.contents.spdx import SPDX
from lumper.registry.inspect.artifact_types import HELM, in_words, of_tag, short
from lumper.registry.inspect.image import Inspection, shown, shown_texts
from lumper.registry.reference import Reference
from lumper.registry.registry import Registry
from lumper.web.pages.images.names import allowed, nothing
from lumper.web.pages.site import IDENTITY, Site
from lumper.web.visibility import check_seen

_REFERRERS = 50
_KINDS = {PROVENANCE: "provenance", SPDX: "packages"}
_MOVES = 10  # of the tag's past


class ImagePage:
    """The page."""

    def __init__(self, site: Site, history: History, registry: Registry) -> None:
        self._site = site
        self._history = history
        self._registry = registry

    async def show(self, request: web.Request, reference: Reference) -> web.Response:
        """The image that a tag points at, or that a digest names."""
        repository = reference.repository
        manifest = await self._history.images.resolve(repository, reference.digest or reference.tag)
        if manifest is None:
            return await self._gone(reference)
        contents, trouble = await self._contents(repository, manifest)
        known = await self._history.catalog.known(repository, [manifest.digest])
        build = await self._build(request, repository, manifest)
        return self._site.render(
            request,
            "image.html",
            reference=reference,
            manifest=manifest,
            tags=await self._history.catalog.tags_at(repository, manifest.digest),
            pulled_at=known[manifest.digest].pulled_at if manifest.digest in known else None,
            space=await self._history.catalog.space(repository, manifest.digest),
            rule=(await self._registry.metadata.rules()).freezing(repository),
            parents=await self._history.catalog.parents(repository, manifest.digest),
            contents=contents,
            sizes=await self._history.catalog.children(repository, manifest.digest) if contents.platforms else {},
            programs=_programs(contents),
            kind=in_words(contents.artifact_type, contents.annotations),
            trouble=trouble,
            **await self._said(repository, manifest.digest),
            build=build,
            origin=await self._origin(repository, manifest, build),
            verification=await self._history.verifications.of(build) if build else None,
            containers=await self._containers(request, manifest),
            moves=await self._moves(reference),
            may_push=allowed(request, repository, Action.PUSH),
            mirror=bool(self._registry.upstreams and self._registry.upstreams.of(repository)),
            may_delete=allowed(request, repository, Action.DELETE),
            admin=request[IDENTITY].role in PEOPLE,
        )

    async def _origin(self, repository: str, manifest: Manifest, build: Build | None) -> set[str]:
        """What this Lumper has told of the image beside it: `signature`, `provenance`, `packages`."""
        if build is None or build.digest != manifest.digest or build.attested not in (Attested.SIGNED, Attested.WHOLE):
            return set()
        told, _ = await self._history.images.referrers(
            repository, manifest.digest, artifact_types=[IN_TOTO], limit=MOST_LISTED
        )
        kinds = {one.annotations.get(PREDICATE, "") for one in told}
        return {"signature", *(_KINDS[kind] for kind in kinds & _KINDS.keys())}

    async def _gone(self, reference: Reference) -> web.Response:
        """A tag that is no more has a past, from which it can come back."""
        moves = await self._moves(reference)
        if not moves:
            raise nothing(str(reference))
        raise web.HTTPSeeOther(f"/images/{reference.repository}/-/history?tag={reference.tag}")

    async def _contents(self, repository: str, manifest: Manifest) -> tuple[Inspection, str]:
        try:
            return await self._registry.inspector.inspect(repository, manifest), ""
        except StorageError as exc:
            return Inspection(), exc.message

    async def _said(self, repository: str, digest: str) -> dict[str, Any]:
        """What refers to the image, and of which kinds that is."""
        referrers, more = await self._history.images.referrers(repository, digest, limit=_REFERRERS)
        notes = [(tag, of_tag(tag)) for tag in await self._notes(repository, digest, referrers)]
        kinds = [in_words(one.artifact_type, one.annotations) for one in referrers]
        rows = [
            (one, kind, shown(one.artifact_type), shown_texts(one.annotations))
            for one, kind in zip(referrers, kinds, strict=True)
        ]
        said = short([*kinds, *(kind for _, kind in notes)])
        return {"referrers": rows, "more_referrers": more, "notes": notes, "said": said}

    async def _notes(self, repository: str, digest: str, referrers: list[Referrer]) -> list[str]:
        """Tags such as sha256-….sig, by which older programs refer to an image."""
        begin = digest.replace(":", "-")
        found = await self._history.images.tags(repository, last=begin[:-1], limit=10) or []
        listed = {one.digest for one in referrers}
        return [tag.name for tag in found if tag.name.startswith(begin) and tag.digest not in listed]

    async def _build(self, request: web.Request, repository: str, manifest: Manifest) -> Build | None:
        """What made the image, if it is known and they may see it."""
        try:
            if manifest.build_id is None:
                build = await self._history.origins.build_of(repository, manifest.digest)
            else:
                build = await self._history.builds.get(manifest.build_id)
            if build is not None:
                check_seen(request[IDENTITY], build)
        except NotFound:
            return None
        return build

    async def _containers(self, request: web.Request, manifest: Manifest) -> list[Container]:
        """What runs it; only those who look after the hosts are told."""
        if request[IDENTITY].role not in PEOPLE:
            return []
        containers = await self._history.rollouts.containers()
        return [container for container in containers if container.digest == manifest.digest]

    async def _moves(self, reference: Reference) -> list[Activity]:
        if not reference.tag:
            return []
        return await self._history.activity.activities(repository=reference.repository, tag=reference.tag, limit=_MOVES)


def _programs(contents: Inspection) -> tuple[str, ...]:
    """What people pull such a thing with."""
    if contents.artifact_type == HELM:
        return ("helm",)
    return ("oras",) if contents.artifact_type else ("docker", "podman")
