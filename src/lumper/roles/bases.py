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

    async def digest(self, image: str) -> str:
        """The digest of an image by its name, "" where that is not told. Raises LumperError."""


class Bases:
    """Looks after the base images of those projects whose rules ask for it."""

    def __init__(self, history: History, digests: Digests) -> None:
        self._history = history
        self._digests = digests

    async def check(self) -> None:
        """Ask for the bases of each project's newest tag, and build it again if one has another digest now."""
        known: dict[str, str] = {}
        for project in await self._history.triggers.with_base_images():
            newest = await self._history.triggers.newest_tag(project.id)
            for build in await self._history.builds.of_push(newest.id) if newest is not None else ():
                await self._check(project, build, known)

    async def _check(self, project: Project, build: Build, known: dict[str, str]) -> None:
        for base in build.bases:
            digest = await self._digest(base, known)
            if digest and digest != base.digest:
                cause = f"The base image {base.name} was {base.digest} and is {digest} now."
                async with self._history.database.write() as connection:
                    again = await self._history.builds.restarted(connection, build.id, Trigger.BASE, cause)
                if again:
                    log.info("a base image has changed", action="bases", project=project.name, why=cause)
                return

    async def _digest(self, base: Base, known: dict[str, str]) -> str:
        if base.name not in known:
            try:
                known[base.name] = await self._digests.digest(base.name)
            except LumperError as exc:
                log.warning("a base image is not known", action="bases", image=base.name, error=exc.sentence)
                known[base.name] = ""
        return known[base.name]
