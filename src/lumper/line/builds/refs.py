"""What a push says of a ref, held against what was built of it: a new commit, a known one, or an old one again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, select, update

from lumper.model.builds.build import BuildState
from lumper.model.source import Project, Push
from lumper.model.trigger import Trigger
from lumper.store.connection import AsyncConnection
from lumper.store.tables import builds

MOVED_BACK = "The ref was moved back to this commit."


def of_ref(project_id: str, ref: str) -> tuple[ColumnElement[bool], ...]:
    """Which builds are of this ref; those that only verify another one are not."""
    return builds.c.project_id == project_id, builds.c.ref == ref, builds.c.verifies == 0


async def first_of_commit(connection: AsyncConnection, project_id: str, push: Push) -> int | None:
    """The build of this very push, where there is one; of several images that of the first."""
    same = select(builds.c.id).where(*of_ref(project_id, push.ref), builds.c.told_commit == push.commit)
    return (await connection.execute(same.order_by(builds.c.id).limit(1))).scalar()


async def last_asked_for(connection: AsyncConnection, project_id: str, ref: str) -> Row[Any] | None:
    """The build of this ref that was asked for last, also as one more attempt of an old one."""
    query = select(builds).where(*of_ref(project_id, ref)).order_by(builds.c.due_at.desc(), builds.c.id.desc())
    return (await connection.execute(query.limit(1))).first()


def is_back(push: Push, last: Row[Any]) -> bool:
    """Whether the ref has left the commit that was asked for last for that of the push."""
    return push.commit != last.told_commit and push.before in (last.told_commit, last.commit)


def is_late(push: Push, last: Row[Any]) -> bool:
    """Whether this tells of the making of a ref that has moved on since: deliveries come in any order."""
    return push.commit == last.before != last.told_commit and set(push.before) == {"0"}


async def want_again(connection: AsyncConnection, project_id: str, push: Push) -> None:
    """Within the caller's transaction: the builds of this push are wanted again, by whoever pushed now."""
    same = *of_ref(project_id, push.ref), builds.c.told_commit == push.commit
    values: dict[str, Any] = {"before": push.before, "cancel_requested": False, "hint": ""}
    if push.pusher.name or push.pusher.email:
        values |= {"pusher_name": push.pusher.name, "pusher_email": push.pusher.email}
    await connection.execute(update(builds).where(*same).values(**values))


def first_values(project: Project, push: Push, trigger: Trigger, cause: str) -> dict[str, Any]:
    """The row of a build that waits for its first attempt."""
    now = datetime.now(UTC)
    return {
        "project_id": project.id,
        "project": project.name,
        "ref": push.ref,
        "told_commit": push.commit,
        "commit": push.commit,
        "recipe": "",
        "image": project.image,
        "state": BuildState.QUEUED.value,
        "attempt": 1,
        "pusher_name": push.pusher.name,
        "pusher_email": push.pusher.email,
        "created_at": now,
        "due_at": now,
        "trigger": trigger.value,
        "cause": cause,
        "before": push.before,
    }
