"""What the registry's metadata keep to, in memory and in the database."""

from __future__ import annotations

from typing import Any

import pytest

from lumper.errors import Conflict
from lumper.model.images.image import Link, NewManifest, Referrer
from lumper.registry.port import Metadata
from parts.registries.known_metadata import Known

A, B, C, D = (f"sha256:{letter * 64}" for letter in "abcd")
OCI = "application/vnd.oci.image.manifest.v1+json"


def image(digest: str, *links: Link, size: int = 10) -> NewManifest:
    return NewManifest(digest, OCI, size, links)


async def names(metadata: Metadata, repository: str) -> list[str] | None:
    tags = await metadata.tags(repository)
    return None if tags is None else [tag.name for tag in tags]


async def test_a_blob_is_served_only_by_the_repository_that_it_was_pushed_to(metadata: Metadata) -> None:
    await metadata.link_blob("one", A, 5)
    await metadata.link_blob("one", A, 5)

    assert await metadata.has_blob("one", A)
    assert not await metadata.has_blob("two", A)
    assert not await metadata.has_blob("one", B)


async def test_an_unlinked_blob_is_no_longer_served_there(metadata: Metadata) -> None:
    await metadata.link_blob("one", A, 5)
    await metadata.link_blob("two", A, 5)
    assert await metadata.has_blob("one", A)

    assert await metadata.unlink_blob("one", A)
    assert not await metadata.unlink_blob("one", A)

    assert not await metadata.has_blob("one", A)
    assert await metadata.has_blob("two", A)


async def test_missing_tells_blobs_from_manifests(metadata: Metadata) -> None:
    await metadata.link_blob("one", A, 5)
    await metadata.put_manifest("one", image(B), [])

    wanted = [Link(A, 5), Link(B, 5, manifest=True), Link(B, 5), Link(A, 5, manifest=True), Link(C, 1)]

    assert await metadata.missing("one", wanted) == wanted[2:]
    assert await metadata.missing("two", wanted) == wanted
    assert await metadata.missing("one", []) == []


async def test_a_thousand_links_are_looked_up(metadata: Metadata) -> None:
    links = [Link(f"sha256:{n:064x}", 1, manifest=n % 2 == 0) for n in range(1200)]
    await metadata.link_blob("one", links[1].digest, 1)

    assert await metadata.missing("one", links) == [links[0], *links[2:]]


async def test_a_manifest_is_known_with_the_bytes_behind_it(metadata: Metadata) -> None:
    await metadata.link_blob("one", A, 100)
    await metadata.put_manifest("one", image(B, Link(A, 100), Link(A, 100), Link(C, 7)), ["1.0", "latest"])

    manifest = await metadata.manifest("one", B)

    assert manifest is not None
    assert (manifest.media_type, manifest.size, manifest.total, manifest.build_id) == (OCI, 10, 117, None)
    assert await metadata.manifest("two", B) is None
    assert await names(metadata, "one") == ["1.0", "latest"]
    tag = await metadata.tag("one", "1.0")
    assert tag is not None
    assert (tag.digest, tag.build_id) == (B, None)


async def test_an_index_counts_what_its_children_hold(metadata: Metadata) -> None:
    await metadata.put_manifest("one", image(A, Link(C, 100)), [])
    await metadata.put_manifest("one", image(B, Link(D, 1000)), [])
    await metadata.put_manifest("two", image(A, Link(C, 100)), [])
    await metadata.put_manifest("one", image(D, Link(A, 10, manifest=True), Link(B, 10, manifest=True), size=5), ["x"])

    manifest = await metadata.manifest("one", D)

    assert manifest is not None
    assert manifest.total == 5 + 110 + 1010


async def test_sizes_that_cannot_be_true_are_no_obstacle(metadata: Metadata) -> None:
    links = [Link(f"sha256:{n:064x}", 1 << 62) for n in range(4)]
    for digest in (A, B):
        await metadata.put_manifest("one", image(digest, *links), [])
    await metadata.put_manifest("one", image(C, Link(A, 1, manifest=True), Link(B, 1, manifest=True)), ["x"])

    manifest = await metadata.manifest("one", C)

    assert manifest is not None
    assert manifest.total >= 1 << 44


async def test_a_manifest_put_again_keeps_its_first_time_and_its_build(known: Known) -> None:
    await known.metadata.put_manifest("one", image(A, Link(B, 1)), ["x"])
    await known.moved("one", A, ["y"], 7)
    before = await known.metadata.manifest("one", A)

    await known.metadata.put_manifest("one", image(A, Link(B, 1)), ["z"])

    assert await known.metadata.manifest("one", A) == before


async def test_a_tag_moves_at_once(metadata: Metadata) -> None:
    await metadata.put_manifest("one", image(A), ["latest"])
    before = await metadata.tag("one", "latest")
    await metadata.put_manifest("one", image(B), ["latest"])
    after = await metadata.tag("one", "latest")

    assert before is not None
    assert after is not None
    assert (before.digest, after.digest) == (A, B)
    assert await names(metadata, "one") == ["latest"]


async def test_tags_come_in_pages_without_private_ones(metadata: Metadata) -> None:
    await metadata.put_manifest("one", image(A), ["c", "a", "_build-1-1", "b", "B", "xbuild-2"])

    page = await metadata.tags("one", limit=2)
    assert page is not None
    assert [tag.name for tag in page] == ["B", "a"]
    rest = await metadata.tags("one", last="a")
    assert rest is not None
    assert [tag.name for tag in rest] == ["b", "c", "xbuild-2"]
    assert await metadata.tag("one", "_build-1-1") is not None


async def test_an_unknown_repository_has_no_tags_and_an_empty_one_has_none_yet(metadata: Metadata) -> None:
    await metadata.link_blob("one", A, 5)

    assert await metadata.tags("one") == []
    assert await metadata.tags("two") is None
    assert await metadata.tag("two", "x") is None


async def test_repositories_come_in_pages(metadata: Metadata) -> None:
    for name in ("b/two", "a", "b/one", "c"):
        await metadata.link_blob(name, A, 5)

    assert await metadata.repositories(limit=3) == ["a", "b/one", "b/two"]
    assert await metadata.repositories(last="b/two") == ["c"]
    for name in ("b/two", "c"):
        await metadata.put_manifest(name, image(B, Link(A, 5)), ["x"])
    assert await metadata.repositories(holding=True) == ["b/two", "c"]
    assert await metadata.repositories(holding=True, last="b", limit=1) == ["b/two"]
    await metadata.delete_manifest("b/two", B)
    assert await metadata.repositories(holding=True) == ["c"]


async def test_images_tell_tags_and_bytes_of_each_repository(metadata: Metadata) -> None:
    assert await metadata.images() == []
    await metadata.link_blob("one", A, 100)
    await metadata.link_blob("one", C, 20)
    await metadata.put_manifest("one", image(B, Link(A, 100)), ["x", "y", "_build-1-1"])
    await metadata.link_blob("empty", A, 100)

    listed = await metadata.images()

    assert [(image.name, image.tags, image.size) for image in listed] == [("one", 2, 130)]
    tag = await metadata.tag("one", "y")
    assert tag is not None
    assert listed[0].updated_at == tag.updated_at


async def test_a_deleted_tag_leaves_the_manifest(metadata: Metadata) -> None:
    await metadata.put_manifest("one", image(A), ["x", "y"])
    assert await metadata.tag("one", "x") is not None

    assert await metadata.delete_tag("one", "x")
    assert not await metadata.delete_tag("one", "x")

    assert await metadata.tag("one", "x") is None
    assert await names(metadata, "one") == ["y"]
    assert await metadata.manifest("one", A) is not None


async def test_a_deleted_manifest_takes_its_tags_along(metadata: Metadata) -> None:
    await metadata.put_manifest("one", image(A, Link(C, 1)), ["x", "y"])
    await metadata.put_manifest("one", image(B, Link(C, 1)), ["z"])
    assert await metadata.manifest("one", A) is not None

    assert await metadata.delete_manifest("one", A)
    assert not await metadata.delete_manifest("one", A)

    assert await metadata.manifest("one", A) is None
    assert await metadata.tag("one", "x") is None
    assert await names(metadata, "one") == ["z"]


async def test_an_accepted_build_moves_its_tags_and_marks_the_manifest(known: Known) -> None:
    await known.metadata.put_manifest("one", image(A), ["latest"])
    await known.metadata.put_manifest("one", image(B), ["_build-7-1"])
    assert (await known.metadata.tag("one", "latest")) is not None
    assert (await known.metadata.manifest("one", B)) is not None

    await known.moved("one", B, ["1.0", "latest"], 7)
    await known.dropped("one", "_build-7-1")
    await known.dropped("one", "_build-7-1")

    tags = await known.metadata.tags("one")
    assert tags is not None
    assert [(tag.name, tag.digest, tag.build_id) for tag in tags] == [("1.0", B, 7), ("latest", B, 7)]
    moved = await known.metadata.tag("one", "latest")
    assert moved is not None
    assert (moved.digest, moved.build_id) == (B, 7)
    manifest = await known.metadata.manifest("one", B)
    assert manifest is not None
    assert manifest.build_id == 7
    assert await known.metadata.tag("one", "_build-7-1") is None


async def test_tags_cannot_move_to_a_manifest_of_another_repository(known: Known) -> None:
    await known.metadata.put_manifest("one", image(A), [])
    await known.metadata.put_manifest("two", image(B), ["latest"])

    with pytest.raises(Conflict):
        await known.moved("two", A, ["latest"], 7)

    tag = await known.metadata.tag("two", "latest")
    assert tag is not None
    assert tag.digest == B


async def test_a_push_by_hand_takes_the_tag_from_the_build(known: Known) -> None:
    await known.metadata.put_manifest("one", image(A), [])
    await known.moved("one", A, ["latest"], 7)

    await known.metadata.put_manifest("one", image(B), ["latest"])

    tag = await known.metadata.tag("one", "latest")
    assert tag is not None
    assert (tag.digest, tag.build_id) == (B, None)


async def test_the_repositories_that_have_a_blob_are_known(metadata: Metadata) -> None:
    for name in ("b", "a", "c"):
        await metadata.link_blob(name, A, 5)
    await metadata.link_blob("d", B, 5)

    assert await metadata.repositories_with(A) == ["a", "b", "c"]
    assert await metadata.repositories_with(A, limit=2) == ["a", "b"]
    assert await metadata.repositories_with(C) == []


def referring(digest: str, kind: str, size: int = 10) -> NewManifest:
    return NewManifest(digest, OCI, size, (), subject=A, artifact_type=kind, annotations={"of": kind})


async def referrers(metadata: Metadata, **more: Any) -> list[str]:
    return [one.digest for one in (await metadata.referrers("one", A, **more))[0]]


async def test_referrers_are_found_by_their_subject_which_need_not_be_there(metadata: Metadata) -> None:
    await metadata.put_manifest("one", referring(C, "sbom"), [])
    await metadata.put_manifest("one", referring(B, "signature"), ["x"])
    await metadata.put_manifest("one", image(D), [])
    await metadata.put_manifest("two", referring(D, "sbom"), [])

    assert await metadata.referrers("one", A) == (
        [
            Referrer(B, OCI, 10, "signature", {"of": "signature"}),
            Referrer(C, OCI, 10, "sbom", {"of": "sbom"}),
        ],
        False,
    )
    assert await metadata.referrers("one", B) == ([], False)
    assert await metadata.referrers("three", A) == ([], False)


async def test_a_deleted_referrer_is_no_longer_listed_and_one_put_again_is_listed_once(metadata: Metadata) -> None:
    for digest in (B, C, C):
        await metadata.put_manifest("one", referring(digest, "sbom"), [])
    assert await referrers(metadata) == [B, C]

    await metadata.delete_manifest("one", B)

    assert await referrers(metadata) == [C]


async def test_referrers_are_filtered_by_the_types_asked_for(metadata: Metadata) -> None:
    for digest, kind in ((B, "sbom"), (C, "signature"), (D, "")):
        await metadata.put_manifest("one", referring(digest, kind), [])

    assert await referrers(metadata, artifact_types=["sbom"]) == [B]
    assert await referrers(metadata, artifact_types=["sbom", "signature"]) == [B, C]
    assert await referrers(metadata, artifact_types=["other"]) == []


async def test_referrers_come_in_pages_of_so_many_and_so_many_bytes(metadata: Metadata) -> None:
    for digest, size in ((B, 60), (C, 60), (D, 500)):
        await metadata.put_manifest("one", referring(digest, "sbom", size), [])

    first, more = await metadata.referrers("one", A, limit=2)
    assert ([one.digest for one in first], more) == ([B, C], True)
    rest, more = await metadata.referrers("one", A, last=C, limit=2)
    assert ([one.digest for one in rest], more) == ([D], False)
    assert await referrers(metadata, most_bytes=100) == [B]
    assert await referrers(metadata, most_bytes=120) == [B, C]
    large, more = await metadata.referrers("one", A, last=C, most_bytes=100)
    assert ([one.digest for one in large], more) == ([D], False)
    assert await metadata.referrers("one", A, limit=0) == ([], True)
