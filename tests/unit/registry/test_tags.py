"""Tags that are moved and removed only where somebody has seen them."""

from __future__ import annotations

import pytest

from lumper.errors import Conflict
from lumper.model.images.activity import SERVER
from lumper.model.images.image import NewManifest
from lumper.registry.holds import Holds
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.reference import Reference
from lumper.registry.tags import Tags

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
LATEST = Reference("app", "latest")


@pytest.fixture
async def metadata() -> MemoryMetadata:
    """A tag that has pointed at A and points at B; C is there."""
    made = MemoryMetadata()
    for digest in (A, B):
        await made.put_manifest("app", NewManifest(digest, "application/json", 10, ()), ["latest"])
    await made.put_manifest("app", NewManifest(C, "application/json", 10, ()), ["other"])
    return made


async def test_a_tag_that_points_elsewhere_than_was_seen_stays(metadata: MemoryMetadata) -> None:
    tags = Tags(metadata, Holds())
    for expected in (A, ""):
        with pytest.raises(Conflict, match="has moved meanwhile"):
            await tags.delete(LATEST, SERVER, expected=expected)
        with pytest.raises(Conflict, match="has moved meanwhile"):
            await tags.undo(LATEST, SERVER, expected=expected)
        with pytest.raises(Conflict):
            await tags.retag(LATEST, C, SERVER, expected=expected)
        with pytest.raises(Conflict):
            await tags.retag(LATEST, "other", SERVER, expected=expected)
    found = await metadata.tag("app", "latest")
    assert found is not None
    assert found.digest == B


async def test_a_tag_that_is_as_it_was_seen_moves_and_goes(metadata: MemoryMetadata) -> None:
    tags = Tags(metadata, Holds())
    assert (await tags.undo(LATEST, SERVER, expected=B)).digest == A
    assert (await tags.retag(LATEST, C, SERVER, expected=A)).before == A
    await tags.delete(LATEST, SERVER, expected=C)
    assert (await tags.undo(LATEST, SERVER, expected="")).digest == C
