"""Builds that are built again to see whether the same image comes out, and what came of that.

The second build is a row of `builds` like any other, with its own log and attempts, but it moves no tag and nobody is
told of it. There is one for each build; to verify once more is to restart it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select

from lumper.errors import Conflict, NotFound
from lumper.line.builds.builds import BuildHistory, build_from_row
from lumper.line.builds.verification_rows import decide, verification_from_row
from lumper.model.builds.build import Build, BuildState
from lumper.model.builds.verification import Difference, Verification, Verified
from lumper.model.images.image import private_tag
from lumper.model.trigger import Trigger
from lumper.registry.catalog.collection import id_of
from lumper.registry.catalog.tagging import drop_private_tags
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, upsert
from lumper.store.tables import builds, manifests, verifications

_SAME = (
    "project_id", "project", "ref", "told_commit", "commit", "recipe", "image", "pusher_name", "pusher_email",
    "author_name", "author_email", "before", "parameters",
)  # fmt: skip


class Verifications:
    """Begins them and knows them."""

    def __init__(self, database: Database, builds: BuildHistory) -> None:
        self._database = database
        self._builds = builds

    async def begin(self, build_id: int) -> Verification:
        """Build it again, unless that is under way. Raises NotFound, Conflict."""
        await self._builds.get(build_id)
        async with self._database.write() as connection:
            row = (await connection.execute(select(builds).where(builds.c.id == build_id))).one()
            await _check(connection, row)
            known = await _of(connection, build_id)
            if known is not None and not known.state.decided:
                return known
            by_id = await self._second_build(connection, row)
            begun = Verification(build_id, by_id, row.digest, Verified.BUILDING, datetime.now(UTC))
            values = {
                "build_id": build_id,
                "by_id": by_id,
                "digest": begun.digest,
                "other": "",
                "state": begun.state.value,
                "summary": "",
                "differences": [],
                "started_at": begun.started_at,
                "decided_at": None,
            }
            await connection.execute(upsert(connection, verifications, "build_id"), values)
        return begun

    async def _second_build(self, connection: AsyncConnection, row: Row[Any]) -> int:
        cause, bases = f"verifies build {row.id}", {"bases": row.bases}
        same = {name: row._mapping[name] for name in _SAME}
        query = select(builds.c.id).where(builds.c.verifies == row.id)
        known = (await connection.execute(query)).scalar()
        if known is not None:
            await connection.execute(builds.update().where(builds.c.id == known).values(**same, **bases))
            if not await self._builds.restarted(connection, known, Trigger.VERIFY, cause):
                raise Conflict(f"Build {known}, which verifies build {row.id}, has not ended.")
            return int(known)
        now = datetime.now(UTC)
        fresh = {"state": BuildState.QUEUED.value, "attempt": 1, "created_at": now, "due_at": now}
        told = {"trigger": Trigger.VERIFY.value, "cause": cause, "verifies": row.id}
        result = await connection.execute(
            builds.insert().values(**same, **bases, **fresh, **told).returning(builds.c.id)
        )
        await self._builds.dispatch.give(connection)
        return int(result.scalar_one())

    async def of(self, build: Build) -> Verification | None:
        """What is known of the image that this build has given last; for a second build, what came of it."""
        async with self._database.read() as connection:
            found = await _of(connection, build.verifies or build.id)
        if found is None or (not build.verifies and found.digest != build.digest):
            return None
        return found

    async def comparing(self, limit: int = 10, *, but: Sequence[int] = ()) -> list[tuple[Verification, Build]]:
        """Those of which both images are there, with the second builds, `but` for these; the oldest first."""
        query = (
            select(verifications, builds.c.id)
            .join(builds, builds.c.id == verifications.c.by_id)
            .where(verifications.c.state == Verified.COMPARING.value, verifications.c.by_id.not_in(but))
            .order_by(verifications.c.started_at)
            .limit(limit)
        )
        async with self._database.read() as connection:
            found = [verification_from_row(row) for row in await connection.execute(query)]
            ids = [one.by for one in found]
            rows = await connection.execute(select(builds).where(builds.c.id.in_(ids)))
            second = {row.id: build_from_row(row) for row in rows}
        return [(one, second[one.by]) for one in found]

    async def decided(
        self, build: Build, state: Verified, summary: str, differences: Sequence[Difference] = ()
    ) -> None:
        """What came of a second build, whose image nobody needs any more."""
        async with self._database.write() as connection:
            await decide(connection, build.id, state, summary, differences)
            await drop_private_tags(connection, build.image, [private_tag(build.id, build.attempt)])


async def _of(connection: AsyncConnection, build_id: int) -> Verification | None:
    row = (await connection.execute(select(verifications).where(verifications.c.build_id == build_id))).first()
    return verification_from_row(row) if row else None


async def _check(connection: AsyncConnection, row: Row[Any]) -> None:
    """Whether the build has an image to verify. Raises NotFound, Conflict."""
    if row.verifies:
        hint = f"`lumper build verify {row.verifies}` verifies that build once more."
        raise Conflict(f"Build {row.id} itself verifies build {row.verifies}.", hint=hint)
    if row.state != BuildState.SUCCEEDED.value:
        raise Conflict(f"Build {row.id} has no image to verify: it is {row.state}.", hint="Verify one that succeeded.")
    here = manifests.c.repository_id == id_of(row.image), manifests.c.digest == row.digest
    if (await connection.execute(select(manifests.c.digest).where(*here))).first() is None:
        hint = f"`lumper restart {row.id}` builds it again."
        raise NotFound(f"The image of build {row.id} is not in the registry any more.", hint=hint)
