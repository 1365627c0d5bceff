"""What the storage has to hear of: names that changed otherwise than by a push, which tells it by itself.

Two processes that push one tag at the same time may tell it in another order than that of their transactions. So where
there may be several, it hears of tags that a push has moved, too.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, Insert, bindparam, insert, select

from lumper.model.images.image import PRIVATE_PREFIX
from lumper.store.connection import AsyncConnection
from lumper.store.tables import renames, tags


async def rename(connection: AsyncConnection, identity: int, references: Sequence[str]) -> None:
    """Within the caller's transaction: these digests and tags of a repository mean something else from now on."""
    now = datetime.now(UTC)
    public = [one for one in references if not one.startswith(PRIVATE_PREFIX)]
    if public:
        rows = [{"repository_id": identity, "reference": one, "changed_at": now} for one in public]
        await connection.execute(insert(renames), rows)


def rename_moved(connection: Connection, identity: int, digest: str, names: Sequence[str], now: datetime) -> None:
    """Within a push, right before it points these tags at `digest`: those that point elsewhere, if others may push."""
    told = {"in": identity, "at": now, "to": digest}
    rows = [{**told, "tag": one} for one in names if not one.startswith(PRIVATE_PREFIX)]
    if rows and connection.dialect.name == "postgresql":
        connection.execute(_moved(), rows)


@functools.cache
def _moved() -> Insert:
    """Whether a tag moves is read by the statement that writes so: a push has no query more."""
    elsewhere = (
        tags.c.repository_id == bindparam("in"),
        tags.c.name == bindparam("tag"),
        tags.c.digest != bindparam("to"),
    )
    at = bindparam("at", type_=renames.c.changed_at.type)
    moved = select(tags.c.repository_id, tags.c.name, at).where(*elsewhere)
    return insert(renames).from_select(["repository_id", "reference", "changed_at"], moved)
