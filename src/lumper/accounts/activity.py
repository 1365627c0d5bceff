"""The activity log: who did what. A row is written in the transaction of the change that it tells of."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Insert, Row, bindparam, delete, func, insert, or_, select

from lumper.model.images.activity import Activity, Actor, AuditAction
from lumper.model.images.image import PRIVATE_PREFIX
from lumper.store.database import Database
from lumper.store.tables import activity, tags

_LONGEST = 255  # characters of a name from outside
_STEP = 1000  # rows that are forgotten in one transaction


class ActivityLog:
    """The rows, read and aged out; `record` and `record_pointing` write them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def activities(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        oldest_first: bool = False,
        repository: str = "",
        tag: str = "",
        actor: str = "",
        action: AuditAction | None = None,
        without: AuditAction | None = None,
        since: datetime | None = None,
    ) -> list[Activity]:
        """The newest rows first, or the oldest; those that come after the row `after` in that order, 0 for all.

        Only those of this repository, tag, actor's name, and action, not of the one `without`, and from `since` on, as
        far as these are given.
        """
        rows, wanted = activity.c, []
        if after:
            wanted.append(rows.id > after if oldest_first else rows.id < after)
        if since is not None:
            wanted.append(rows.at >= since)
        if without is not None:
            wanted.append(rows.action != str(without))
        given = {rows.repository: repository, rows.tag: tag, rows.actor: actor, rows.action: action or ""}
        wanted += [column == str(value) for column, value in given.items() if value]
        order = rows.id if oldest_first else rows.id.desc()
        async with self._database.read() as connection:
            found = await connection.execute(select(activity).where(*wanted).order_by(order).limit(limit))
            return [activity_from_row(row) for row in found]

    async def forget_activities(self, before: datetime) -> int:
        """Forget what is older; how many rows."""
        count, oldest = 0, select(activity.c.id, activity.c.at).order_by(activity.c.id).limit(_STEP)
        while True:
            async with self._database.write() as connection:
                old = [row.id for row in await connection.execute(oldest) if row.at < before]
                if old:
                    aged = activity.c.id <= old[-1], activity.c.at < before
                    await connection.execute(delete(activity).where(*aged))
            count += len(old)
            if len(old) < _STEP:
                return count

    async def pusher(self, repository: str, digest: str) -> Actor | None:
        """Who has pushed a manifest by hand for the last time, as far as it is remembered."""
        mine = activity.c.repository == repository, activity.c.digest == digest
        query = select(activity).where(*mine, activity.c.action == AuditAction.PUSH.value)
        async with self._database.read() as connection:
            row = (await connection.execute(query.order_by(activity.c.id.desc()).limit(1))).first()
        return activity_from_row(row).actor if row else None


def record(connection: Connection, done: Sequence[Activity]) -> None:
    """Within the caller's transaction: write these rows, but none of build-private tags."""
    rows = [row_from_activity(one) for one in done if not one.tag.startswith(PRIVATE_PREFIX)]
    if rows:
        connection.execute(insert(activity), rows)


def record_pointing(connection: Connection, repository_id: int, done: Sequence[Activity]) -> None:
    """Like `record`, right before tags are pointed: where each pointed is added; one that stays is left out."""
    rows = [row_from_activity(one) for one in done if not one.tag.startswith(PRIVATE_PREFIX)]
    if rows:
        given = [{f"new_{name}": value for name, value in row.items()} for row in rows]
        connection.execute(_pointing(), [{**row, "repository_id": repository_id} for row in given])


@functools.cache
def _pointing() -> Insert:
    """Where a tag pointed is read by the statement that writes it: a push has no query more."""
    given = {c.name: bindparam(f"new_{c.name}", type_=c.type) for c in activity.c if c.name != "id"}
    here = tags.c.repository_id == bindparam("repository_id", type_=tags.c.repository_id.type)
    now = select(tags.c.digest).where(here, tags.c.name == given["tag"])
    before = func.coalesce(now.scalar_subquery(), "")
    values = {**given, "before": before}
    moves = or_(given["action"] != AuditAction.TAG.value, before != given["digest"])
    return insert(activity).from_select([*values], select(*values.values()).where(moves))


def row_from_activity(one: Activity) -> dict[str, object]:
    """The values of a row."""
    return {
        "at": one.at,
        "action": one.action.value,
        "repository": one.repository,
        "tag": one.tag,
        "digest": one.digest,
        "before": one.before,
        "actor": one.actor.name[:_LONGEST].replace("\0", ""),
        "role": one.actor.role,
        "address": one.actor.address,
        "detail": one.detail,
    }


def activity_from_row(row: Row[Any]) -> Activity:
    """A row of `activity` as a value."""
    return Activity(
        at=row.at,
        action=AuditAction(row.action),
        actor=Actor(row.actor, row.role, row.address),
        repository=row.repository,
        tag=row.tag,
        digest=row.digest,
        before=row.before,
        detail=row.detail,
        id=row.id,
    )
