"""Which images are in use, whatever rules say: what runs, what is about to, and what was built last."""

from __future__ import annotations

from sqlalchemy import func, or_, select

from lumper.model.builds.build import BuildState
from lumper.model.deployment import RolloutState
from lumper.store.connection import AsyncConnection
from lumper.store.tables import builds, hosts, rollouts

_ENDED = [RolloutState.SUCCEEDED.value, RolloutState.FAILED.value]


async def in_use(connection: AsyncConnection) -> dict[str, str]:
    """Their digests, and why."""
    found: dict[str, str] = {}
    newest = select(func.max(builds.c.id)).where(builds.c.state == BuildState.SUCCEEDED.value, builds.c.verifies == 0)
    built = select(builds.c.digest, builds.c.project).where(
        builds.c.id.in_(newest.group_by(builds.c.project_id, builds.c.image))
    )
    for row in await connection.execute(built):
        found[row.digest] = f"the newest build of {row.project}"
    last = select(func.max(rollouts.c.id)).where(rollouts.c.state == RolloutState.SUCCEEDED.value)
    rolled = select(rollouts.c.digest, rollouts.c.service).where(
        or_(rollouts.c.state.not_in(_ENDED), rollouts.c.id.in_(last.group_by(rollouts.c.service)))
    )
    for row in await connection.execute(rolled):
        found[row.digest] = f"the service {row.service} runs it"
    for row in await connection.execute(select(hosts.c.name, hosts.c.containers)):
        for container in row.containers:
            found[container["digest"]] = f"the service {container['service']} runs it on {row.name}"
    return found
