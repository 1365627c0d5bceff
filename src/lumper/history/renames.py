"""What the storage has to hear of: names that changed otherwise than by a push, which tells it by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import insert

from lumper.history.connection import AsyncConnection
from lumper.history.tables import renames
from lumper.model.image import PRIVATE_PREFIX


async def rename(connection: AsyncConnection, identity: int, references: Sequence[str]) -> None:
    """Within the caller's transaction: these digests and tags of a repository mean something else from now on."""
    now = datetime.now(UTC)
    public = [one for one in references if not one.startswith(PRIVATE_PREFIX)]
    if public:
        rows = [{"repository_id": identity, "reference": one, "changed_at": now} for one in public]
        await connection.execute(insert(renames), rows)
