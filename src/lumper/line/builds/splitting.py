"""A commit with several images: the build that found them becomes that of the first, the others stand beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select

from lumper.errors import Invalid
from lumper.model.builds.build import BuildState, Part
from lumper.model.images.image import is_repository
from lumper.store.connection import AsyncConnection
from lumper.store.tables import builds, projects

_MOST = 50  # images of one commit
_SHARED = (
    "project_id", "project", "ref", "told_commit", "commit", "pusher_name", "pusher_email", "trigger", "cause",
    "before",
)  # fmt: skip


async def repositories(connection: AsyncConnection, row: Row[Any], parts: Sequence[Part]) -> list[str]:
    """The repository of each part: the project's own or one below it.

    Raises Invalid for what is no such list, and for a repository that belongs to another project.
    """
    found = [f"{row.image}/{part.image}" if part.image else row.image for part in parts]
    names = {part.name for part in parts}
    if row.recipe or not parts or len(parts) > _MOST or len(names) < len(parts) or "" in names:
        raise Invalid("The worker tells of images that cannot be: do all roles run one version?")
    for image in found:
        if not is_repository(image):
            raise Invalid(f"{image[:300]!r} is not the name of a repository.", hint="Change `image` in lumper.toml.")
    query = select(projects.c.name, projects.c.image).where(
        projects.c.image.in_(found), projects.c.id != row.project_id
    )
    taken = (await connection.execute(query)).first()
    if taken is not None:
        hint = "Give the image another name, or another `image`, in lumper.toml."
        raise Invalid(f"The repository {taken.image} belongs to the project {taken.name}.", hint=hint)
    return found


async def add_beside(connection: AsyncConnection, row: Row[Any], part: Part, image: str) -> int | None:
    """Add a queued build of another image of the same commit: its id; None if it is there already."""
    own = builds.c.project_id == row.project_id, builds.c.ref == row.ref, builds.c.told_commit == row.told_commit
    same = (*own, builds.c.recipe == part.name, builds.c.verifies == 0)
    if (await connection.execute(select(builds.c.id).where(*same))).first():
        return None
    values = {
        **{name: row._mapping[name] for name in _SHARED},
        "recipe": part.name,
        "image": image,
        "state": BuildState.QUEUED.value,
        "attempt": 1,
        "created_at": datetime.now(UTC),
        "due_at": datetime.now(UTC),
    }
    result = await connection.execute(builds.insert().values(**values).returning(builds.c.id))
    return int(result.scalar_one())


async def siblings(connection: AsyncConnection, build_id: int) -> Sequence[Row[Any]]:
    """All builds of the same push: this one and those of its other images."""
    one = select(builds.c.project_id, builds.c.ref, builds.c.told_commit).where(builds.c.id == build_id).subquery()
    same = (
        (builds.c.project_id == one.c.project_id)
        & (builds.c.ref == one.c.ref)
        & (builds.c.told_commit == one.c.told_commit)
        & (builds.c.verifies == 0)
    )
    return (await connection.execute(select(builds).join(one, same).order_by(builds.c.id))).all()
