"""What the storage has to hear of: names that changed otherwise than by a push, which tells it by itself.

Two processes that push one tag at the same time may tell it in another order than that of their transactions. So where
there may be several, it hears of tags that a push has moved, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, literal, select

from lumper.history.connection import AsyncConnection
from lumper.history.tables import renames, tags
from lumper.model.image import PRIVATE_PREFIX


async def rename(connection: AsyncConnection, identity: int, references: Sequence[str]) -> None:
    """Within the caller's transaction: these digests and tags of a repository mean something else from now on."""
    now = datetime.now(UTC)
    public = [one for one in references if not one.startswith(PRIVATE_PREFIX)]
    if public:
        rows = [{"repository_id": identity, "reference": one, "changed_at": now} for one in public]
        await connection.execute(insert(renames), rows)


def rename_moved(connection: Connection, identity: int, digest: str, names: Sequence[str], now: datetime) -> None:
    """Within a push, right before it points these tags at `digest`: those that point elsewhere, if others may push."""
    public = [one for one in names if not one.startswith(PRIVATE_PREFIX)]
    if public and connection.dialect.name == "postgresql":
        elsewhere = tags.c.repository_id == identity, tags.c.name.in_(public), tags.c.digest != digest
        moved = select(tags.c.repository_id, tags.c.name, literal(now, renames.c.changed_at.type)).where(*elsewhere)
        connection.execute(insert(renames).from_select(["repository_id", "reference", "changed_at"], moved))
