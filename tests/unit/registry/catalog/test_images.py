"""What the database's metadata add to the contract: memory that never answers with the past."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Row, Select

from lumper.model.images.image import NewManifest
from lumper.registry.catalog.images import ImageHistory
from lumper.registry.catalog.tagging import move_tags
from lumper.store.database import Database

A, B = (f"sha256:{letter * 64}" for letter in "ab")
OCI = "application/vnd.oci.image.manifest.v1+json"


async def digest_of_tag(images: ImageHistory, name: str) -> str | None:
    tag = await images.tag("one", name)
    return tag.digest if tag else None


async def test_all_histories_on_one_database_see_a_tag_move(database: Database) -> None:
    writer, reader = ImageHistory(database), ImageHistory(database)
    await writer.put_manifest("one", NewManifest(A, OCI, 1, ()), ["latest"])
    await writer.put_manifest("one", NewManifest(B, OCI, 1, ()), [])
    assert await digest_of_tag(reader, "latest") == A

    async with database.write() as connection:
        await move_tags(connection, "one", B, ["latest"], 7, datetime.now(UTC))
        assert await digest_of_tag(reader, "latest") == A  # not before it is committed

    assert await digest_of_tag(reader, "latest") == B


async def test_what_changes_while_it_is_read_is_not_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, writer = ImageHistory(database), ImageHistory(database)
    rows = database.rows
    for ask, change, remembered in (
        (lambda: images.tag("one", "v1"), writer.delete_tag("one", "v1"), lambda: images.remembered_tag("one", "v1")),
        (lambda: images.has_blob("one", B), writer.unlink_blob("one", B), lambda: images.remembers_blob("one", B)),
        (
            lambda: images.manifest("one", A),
            writer.delete_manifest("one", A),
            lambda: images.remembered_manifest("one", A),
        ),
    ):
        await writer.put_manifest("one", NewManifest(A, OCI, 1, ()), ["v1"])
        await writer.link_blob("one", B, 1)

        async def changed(query: Select[Any], change: Awaitable[bool] = change) -> Sequence[Row[Any]]:
            found = await rows(query)
            patch.undo()
            assert await change
            return found

        with monkeypatch.context() as patch:
            patch.setattr(database, "rows", changed)
            assert await ask()
        assert not remembered()
        assert not await ask()


async def test_a_transaction_that_failed_moves_nothing(database: Database) -> None:
    images = ImageHistory(database)
    await images.put_manifest("one", NewManifest(A, OCI, 1, ()), ["latest"])
    await images.put_manifest("one", NewManifest(B, OCI, 1, ()), [])

    with pytest.raises(ZeroDivisionError):
        async with database.write() as connection:
            await move_tags(connection, "one", B, ["latest"], 7, datetime.now(UTC))
            raise ZeroDivisionError

    assert await digest_of_tag(images, "latest") == A
    manifest = await images.manifest("one", B)
    assert manifest is not None
    assert manifest.build_id is None


async def test_everything_outlives_the_process(database_url: str, database: Database) -> None:
    await ImageHistory(database).put_manifest("one", NewManifest(A, OCI, 1, ()), ["latest"])
    await ImageHistory(database).link_blob("one", B, 5)

    other = Database(database_url)
    try:
        assert await digest_of_tag(ImageHistory(other), "latest") == A
        assert await ImageHistory(other).has_blob("one", B)
    finally:
        await other.close()
