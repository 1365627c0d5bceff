"""Builds again what was built from a base image that has changed."""

from __future__ import annotations

from typing import Protocol

from lumper.errors import LumperError
from lumper.history.store import History
from lumper.logs import get_logger
from lumper.model.build import Base, Build
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
        known: dict[tuple[str, str], str] = {}
        for project in await self._history.triggers.with_base_images():
            newest = await self._history.triggers.newest_tag(project.id)
            for build in await self._history.builds.of_push(newest.id) if newest is not None else ():
                await self._check(project, build, known)

    async def _check(self, project: Project, build: Build, known: dict[tuple[str, str], str]) -> None:
        for base in build.bases:
            if self._digests.own_repository(base.name) == build.image:
                continue  # it would be built again for ever
            digest = await self._digest(base, project, known)
            if digest and digest != base.digest:
                cause = f"The base image {base.name} was {base.digest} and is {digest} now."
                async with self._history.database.write() as connection:
                    again = await self._history.builds.restarted(connection, build.id, Trigger.BASE, cause)
                if again:
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
