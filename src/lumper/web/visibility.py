"""What users and robots see of builds: those of images that they may pull."""

from __future__ import annotations

from lumper.errors import NotFound
from lumper.line.history import History
from lumper.model.builds.build import Build
from lumper.model.people.people import Identity
from lumper.model.people.rights import Action


async def images_seen_by(identity: Identity, history: History) -> list[str] | None:
    """The images of projects whose builds they may see; None for all of them."""
    if identity.rights.everywhere:
        return None
    images = {project.image for project in await history.projects.all()}.union(await history.builds.images())
    return [image for image in images if identity.rights.allow(image, Action.PULL)]


def check_seen(identity: Identity, build: Build) -> None:
    """Raise NotFound, as if it was not there, for a build that is not theirs to see."""
    if not identity.rights.allow(build.image, Action.PULL):
        raise NotFound(f"There is no build {build.id}.", hint="`lumper builds` shows all.")
