"""All repositories with what they hold, counted by the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ScalarSelect, Table, and_, exists, func, not_, select

from lumper.model.images.image import PRIVATE_PREFIX, Image
from lumper.store.connection import AsyncConnection
from lumper.store.tables import manifests, repositories, repository_blobs, tags


async def all_images(connection: AsyncConnection) -> list[Image]:
    """All repositories that have a manifest, with the number of tags and the bytes that they hold."""
    mine = repositories.c.id
    query = select(
        repositories.c.name,
        repositories.c.created_at,
        _of(tags, func.count(), mine, public(), not_(beside_an_image())).label("tags"),
        _of(tags, func.max(tags.c.updated_at), mine, public()).label("moved_at"),
        _of(repository_blobs, func.coalesce(func.sum(repository_blobs.c.size), 0), mine).label("blobs"),
        _of(manifests, func.coalesce(func.sum(manifests.c.size), 0), mine).label("manifests"),
    )
    query = query.where(has_manifests()).order_by(repositories.c.name)
    return [_image_from_row(row) for row in (await connection.execute(query)).all()]


def has_manifests() -> Any:
    """Whether a repository holds anything that people see."""
    return exists().where(manifests.c.repository_id == repositories.c.id)


def public() -> Any:
    """Whether a tag is one that people see."""
    return not_(tags.c.name.startswith(PRIVATE_PREFIX, autoescape=True))


def beside_an_image() -> Any:
    """Whether a tag only says something of an image, as model/images/image.py tells, but for names that nobody
    gives."""
    return and_(tags.c.name.like("sha256-%"), func.length(tags.c.name) >= len("sha256-") + 64)


def _image_from_row(row: Any) -> Image:
    moved_at = row.moved_at or row.created_at
    return Image(row.name, row.tags, int(row.blobs + row.manifests), max(row.created_at, moved_at))


def _of(table: Table, what: Any, repository_id: Any, *conditions: Any) -> ScalarSelect[Any]:
    return select(what).select_from(table).where(table.c.repository_id == repository_id, *conditions).scalar_subquery()
