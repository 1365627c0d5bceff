"""What a repository refers to and does not have."""

from __future__ import annotations

from sqlalchemy import exists, select

from lumper.store.connection import AsyncConnection
from lumper.store.tables import blobs, manifest_links, manifests, repository_blobs, tags


async def flaws(connection: AsyncConnection, identity: int, limit: int) -> list[tuple[str, str]]:
    """What a repository refers to and does not have."""
    mine, links = manifests.c, manifest_links.c
    here = exists().where(mine.repository_id == identity, mine.digest == tags.c.digest)
    child = exists().where(mine.repository_id == identity, mine.digest == links.child)
    served = exists().where(repository_blobs.c.repository_id == identity, repository_blobs.c.digest == links.child)
    stored = exists().where(blobs.c.digest == mine.digest)
    linked = exists().where(blobs.c.digest == repository_blobs.c.digest)
    queries = {
        "a tag of a manifest that is not there": select(tags.c.name).where(tags.c.repository_id == identity, ~here),
        "an index refers to it, and it is not there": select(links.child).where(
            links.repository_id == identity, links.manifest, ~child
        ),
        "a manifest refers to it, and the repository may not serve it": select(links.child).where(
            links.repository_id == identity, ~links.manifest, ~served
        ),
        "a manifest that is not known to be in the storage": select(mine.digest).where(
            mine.repository_id == identity, ~stored
        ),
        "a blob that is not known to be in the storage": select(repository_blobs.c.digest).where(
            repository_blobs.c.repository_id == identity, ~linked
        ),
    }
    found: list[tuple[str, str]] = []
    for words, query in queries.items():
        found += [(name, words) for name in (await connection.execute(query.distinct().limit(limit))).scalars()]
    return found
