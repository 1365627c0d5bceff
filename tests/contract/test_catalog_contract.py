"""What pages ask of the registry's metadata, of each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lumper.model.images.activity import Actor
from lumper.model.images.image import Link, NewManifest
from lumper.registry.catalog import catalog
from lumper.registry.catalog.catalog import Catalog, Order, Space
from lumper.registry.catalog.images import ImageHistory
from parts.registries.known_metadata import Known, postgresql, sqlite

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
OCI = "application/vnd.oci.image.manifest.v1+json"
ANN, BOB = Actor("ann", "user"), Actor("bob", "user")


@pytest.fixture(params=[sqlite, pytest.param(postgresql, marks=pytest.mark.postgresql)], ids=lambda make: make.__name__)
async def images(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ImageHistory]:
    make: Callable[[Path, pytest.FixtureRequest], AbstractAsyncContextManager[Known]] = request.param
    async with make(tmp_path, request) as made:
        assert isinstance(made.metadata, ImageHistory)
        yield made.metadata


@pytest.fixture
def asked(images: ImageHistory) -> Catalog:
    return Catalog(images._database)


async def push(images: ImageHistory, digest: str, *tags: str, links: tuple[Link, ...] = (), actor: Actor = ANN) -> None:
    await images.put_manifest("one", NewManifest(digest, OCI, 10, links), tags, actor)


async def test_repositories_are_shown_with_what_they_hold(images: ImageHistory, asked: Catalog) -> None:
    await images.link_blob("one", A, 5)
    await images.link_blob("one", B, 7)
    await images.link_blob("two", A, 5)
    await push(images, C, "1.0", "latest", "_build-1-1")
    one, two = await asked.summaries(["two", "none", "one"])
    assert (one.name, one.tags, one.size, one.more_tags, one.more_size) == (
        "one",
        2,
        22,
        False,
        False,
    )  # with the manifest
    assert (two.name, two.tags, two.size) == ("two", 0, 5)
    assert one.updated_at == (await images.activities(repository="one", limit=1))[0].at
    assert await asked.summaries([]) == await asked.summaries(["none"]) == []
    listed = {image.name: image.size for image in await images.images()}
    assert listed["one"] == one.size


async def test_what_is_much_is_not_counted_to_its_end(
    images: ImageHistory, asked: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "_MOST_TAGS", 2)
    monkeypatch.setattr(catalog, "_MOST_SIZES", 1)
    await images.link_blob("one", A, 5)
    await push(images, C, "1", "2")
    (one,) = await asked.summaries(["one"])
    assert (one.tags, one.more_tags, one.size, one.more_size) == (2, False, 15, False)
    await images.link_blob("one", B, 5)
    await push(images, C, "3")
    (one,) = await asked.summaries(["one"])
    assert (one.tags, one.more_tags, one.size, one.more_size) == (2, True, 20, True)


async def test_tags_of_an_image_its_parts_and_what_it_is_a_part_of(images: ImageHistory, asked: Catalog) -> None:
    await push(images, A, "b", "a", "_build-1-1")
    await push(images, B, "index", links=(Link(A, 10, manifest=True),))
    assert await asked.tags_at("one", A) == ["a", "b"]
    assert await asked.tags_at("one", A, limit=1) == ["a"]
    assert await asked.tags_at("two", A) == []
    assert await asked.parents("one", A) == [B]
    assert await asked.parents("one", B) == []
    assert await asked.children("one", B) == {A: 10}
    assert await asked.children("one", A) == {}


async def test_who_set_a_tag_last_is_told(images: ImageHistory, asked: Catalog) -> None:
    await push(images, A, "1", "2")
    await push(images, B, "2", actor=BOB)
    found = await asked.last_moves("one", ["1", "2", "3"])
    assert {tag: (move.actor.name, move.before) for tag, move in found.items()} == {"1": ("ann", ""), "2": ("bob", A)}
    assert await asked.last_moves("one", []) == await asked.last_moves("two", ["1"]) == {}


async def test_the_tags_set_last_and_those_by_name(images: ImageHistory, asked: Catalog) -> None:
    await push(images, A, "1", "2", "old", "_build-1-1", A.replace(":", "-") + ".sig")
    await push(images, B, "1")
    await push(images, C, "gone")
    await images.delete_tag("one", "gone", ANN)
    assert next(tag.name for tag in await asked.newest_tags("one", limit=2)) == "1"
    assert {tag.name for tag in await asked.newest_tags("one", limit=9)} == {"1", "2", "old"}
    assert [tag.name for tag in await asked.named_tags("one", limit=2)] == ["1", "2"]
    assert [tag.name for tag in await asked.named_tags("one", last="1", limit=9)] == ["2", "old"]
    assert [tag.name for tag in await asked.named_tags("one", begin="o", limit=9)] == ["old"]
    assert await asked.newest_tags("two", limit=9) == await asked.named_tags("two", limit=9) == []


async def test_what_refers_to_images_is_told_by_its_type(images: ImageHistory, asked: Catalog) -> None:
    note = A.replace(":", "-") + ".sig"
    await push(images, A, "1", note)
    await images.put_manifest("one", NewManifest(B, OCI, 10, (), subject=A, artifact_type="a/b"), (), ANN)
    assert await asked.told("one", [A, C]) == {A: ({"a/b"}, [note]), C: (set(), [])}
    assert await asked.told("one", []) == {}
    assert {digest: one.manifest.total for digest, one in (await asked.known("one", [A, C])).items()} == {A: 10}


async def test_when_an_image_was_pulled_last_is_told(images: ImageHistory, asked: Catalog) -> None:
    await push(images, A, "1")
    assert (await asked.known("one", [A]))[A].pulled_at is None
    assert await asked.known("two", [A]) == {}
    then = datetime(2026, 1, 2, tzinfo=UTC)
    await images.pulled({("one", A): then})
    assert (await asked.known("one", [A]))[A].pulled_at == then


async def test_tags_are_sorted_by_the_size_of_their_images_and_by_when_they_were_pulled(
    images: ImageHistory, asked: Catalog
) -> None:
    await push(images, A, "1", "_build-1-1", A.replace(":", "-") + ".sig")
    await push(images, B, "2", links=(Link(C, 50),))
    await images.pulled({("one", B): datetime(2026, 1, 2, tzinfo=UTC)})
    for order, names in ((Order.SIZE, ["2", "1"]), (Order.PULLED, ["1", "2"])):
        assert [tag.name for tag in await asked.tags_by("one", order, limit=9)] == names
    assert [tag.name for tag in await asked.tags_by("one", Order.SIZE, limit=1)] == ["2"]


async def test_the_space_of_an_index_counts_what_its_images_share_once_and_tells_what_it_alone_has(
    images: ImageHistory, asked: Catalog
) -> None:
    mine, shared, elsewhere, first, second, index = ("sha256:" + str(number) * 64 for number in range(1, 7))
    common = (Link(shared, 100), Link(elsewhere, 1000))
    for name in ("one", "two"):
        await images.link_blob(name, elsewhere, 1000)
    await push(images, first, links=(Link(mine, 1), *common))
    await push(images, second, links=common)
    await push(images, index, "1", links=(Link(first, 10, manifest=True), Link(second, 10, manifest=True)))
    assert await asked.space("one", index) == Space(once=1121, only=121)
    assert await asked.space("one", first) == Space(once=1101, only=1), "the index's other image has the rest"
    assert await asked.space("two", index) == Space(0, 0)
