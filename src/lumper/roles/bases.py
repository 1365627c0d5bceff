"""Builds again what was built from a base image that has changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from lumper.errors import LumperError
from lumper.line.history import History
from lumper.logs import get_logger
from lumper.model.builds.build import Base, Build, BuildState
from lumper.model.source import Project
from lumper.model.trigger import Trigger

log = get_logger(__name__)


class Digests(Protocol):
    """Knows what images are at the moment."""

    def own_repository(self, image: str) -> str:
        """The repository of an image in our own registry, "" for one that is elsewhere."""

    async def digest(self, image: str, project_id: str) -> str:
        """The digest that an image has now, as a project may read it, "" where that is not told. Raises LumperError."""


class Bases:
    """Looks after the base images of those projects whose rules ask for it."""

    def __init__(self, history: History, digests: Digests) -> None:
        self._history = history
        self._digests = digests

    async def check(self) -> None:
        """Ask for the bases of each project's newest tag, and build it again if one has another digest now."""
        newest = [
            (project, build)
            for project in await self._history.triggers.with_base_images()
            if (tagged := await self._history.triggers.newest_tag(project.id)) is not None
            for build in await self._history.builds.of_push(tagged.id)
        ]
        again = {build.image: self._own(build) for _, build in newest if build.trigger is Trigger.BASE}
        known: dict[tuple[str, str], str] = {}
        for project, build in newest:
            if build.state is BuildState.SUCCEEDED:
                await self._check(project, build, again, known)

    def _own(self, build: Build) -> set[str]:
        """The repositories of our own registry that a build was made from, with "" for all others."""
        return {self._digests.own_repository(base.name) for base in build.bases}

    async def _check(
        self,
        project: Project,
        build: Build,
        again: Mapping[str, Collection[str]],
        known: dict[tuple[str, str], str],
    ) -> None:
        for base in build.bases:
            if comes_from(self._digests.own_repository(base.name), build.image, again):
                continue
            digest = await self._digest(base, project, known)
            if digest and digest != base.digest:
                cause = f"The base image {base.name} was {base.digest} and is {digest} now."
                async with self._history.database.write() as connection:
                    restarted = await self._history.builds.restarted(connection, build.id, Trigger.BASE, cause)
                if restarted:
                    log.info("a base image has changed", action="bases", project=project.name, why=cause)
                return

    async def _digest(self, base: Base, project: Project, known: dict[tuple[str, str], str]) -> str:
        """The digest that the base has now; projects may have different credentials for one registry."""
        key = base.name, project.id
        if key not in known:
            try:
                known[key] = await self._digests.digest(base.name, project.id)
            except LumperError as exc:
                log.warning(
                    "a base image is not known",
                    action="bases", project=project.name, image=base.name, error=exc.sentence,
                )  # fmt: skip
                known[key] = ""
        return known[key]


def comes_from(repository: str, image: str, again: Mapping[str, Collection[str]]) -> bool:
    """Whether a base image is the image itself, or was built again for a base that comes from it: a circle.

    `again` has the images that were last built for such a reason, with the repositories that they were made from. So a
    change goes round a circle at most once: every build that it brings makes one image more of this kind.
    """
    seen, waiting = set[str](), [repository]
    while waiting:
        one = waiting.pop()
        if one == image:
            return True
        if one not in seen:
            seen.add(one)
            waiting += again.get(one, ())
    return False
