"""What is known of a repository's names, and what is made known again because the storage has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lumper.model.images.garbage import Sweep
from lumper.model.images.image import Link, Name, NewManifest, Restored, Tag
from parts.registries.known_metadata import Known

A, B, C, D = (f"sha256:{letter * 64}" for letter in "abcd")
OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LONG_AGO = datetime(2024, 2, 29, 12, tzinfo=UTC)


def restored(digest: str, *links: Link, subject: str = "", blobs: tuple[Link, ...] = ()) -> Restored:
    return Restored(NewManifest(digest, OCI, 10, links, subject), blobs, LONG_AGO)


async def renames(known: Known) -> list[tuple[str, str]]:
    return [(one.repository, one.reference) for one in await known.metadata.renames()]


async def test_names_are_manifests_and_public_tags(known: Known) -> None:
    metadata = known.metadata
    await metadata.put_manifest("one", NewManifest(A, OCI, 10, ()), ["v1", "_build-1-1", "V1"])

    assert await metadata.known_names("one", [A, B, "v1", "v2", "_build-1-1"]) == {A: OCI, "v1": A}
    assert await metadata.known_names("two", [A]) == {}
    assert await metadata.names("one") == [Name("one", "V1", A), Name("one", A, OCI), Name("one", "v1", A)]


async def test_names_come_in_pages(known: Known) -> None:
    tags = [f"_build-{n}-1" for n in range(5)] + [f"v{n}" for n in range(5)]
    await known.metadata.put_manifest("one", NewManifest(A, OCI, 10, ()), tags)
    found, last = [], ""

    while page := await known.metadata.names("one", last=last, limit=2):
        assert len(page) <= 2
        last = page[-1].reference
        found += [name.reference for name in page]

    assert found == [A, *(f"v{n}" for n in range(5))]


async def test_a_push_leaves_no_rename_and_every_other_change_does(known: Known) -> None:
    metadata = known.metadata
    for _ in range(2):
        await metadata.put_manifest("one", NewManifest(A, OCI, 10, ()), ["v1", "v2", "_build-1-1"])
    assert await renames(known) == []

    await known.moved("one", A, ["latest"], 1)
    await known.dropped("one", "_build-1-1")
    await metadata.delete_tag("one", "v1")
    await metadata.delete_tag("one", "v1")
    await metadata.delete_manifest("one", A)

    changed = await renames(known)
    assert changed[:2] == [("one", "latest"), ("one", "v1")]
    assert sorted(changed[2:]) == [("one", "latest"), ("one", A), ("one", "v2")]


async def test_what_is_collected_leaves_a_rename(known: Known) -> None:
    metadata = known.metadata
    await metadata.put_manifest("one", NewManifest(A, OCI, 10, ()), [])
    soon = datetime.now(UTC) + timedelta(minutes=1)
    found = await metadata.garbage("one", Sweep(soon, untagged=True))

    await metadata.collect("one", found, Sweep(soon, untagged=True))

    assert await renames(known) == [("one", A)]


async def test_renames_come_in_order_and_go_by_number(known: Known) -> None:
    metadata = known.metadata
    await metadata.put_manifest("one", NewManifest(A, OCI, 10, ()), ["v1", "v2", "v3"])
    assert await metadata.renames() == []
    await metadata.rename_all()
    found = await metadata.renames()
    assert sorted(one.reference for one in found) == [A, "v1", "v2", "v3"]
    assert [one.number for one in found] == sorted(one.number for one in found)
    assert await metadata.renames(found[1].number, 1) == [found[2]]

    await metadata.renamed([one.number for one in found[:3]])
    assert await metadata.renames() == found[3:]
    await metadata.renamed([found[3].number])
    await metadata.rename("one", ["v1"])
    await metadata.rename("unknown", ["v1"])
    assert await renames(known) == [("one", "v1")]
    assert min(one.number for one in await metadata.renames()) > found[3].number


async def test_a_manifest_comes_back_with_its_blobs_its_subject_and_its_time(known: Known) -> None:
    metadata = known.metadata
    links = (Link(C, 3), Link(D, 4))

    assert await metadata.restore("one", [restored(A, *links, subject=B, blobs=(Link(C, 3),))]) == 1

    manifest = await metadata.manifest("one", A)
    assert manifest is not None
    assert (manifest.media_type, manifest.total, manifest.created_at) == (OCI, 17, LONG_AGO)
    assert [one.digest for one in (await metadata.referrers("one", B))[0]] == [A]
    assert await metadata.has_blob("one", C)
    assert not await metadata.has_blob("one", D)
    assert set(await metadata.known_blobs()) == {A, C}
    assert [name for name, _ in await metadata.flaws("one")] == [D]


async def test_an_index_that_comes_back_counts_its_children(known: Known) -> None:
    await known.metadata.restore("one", [restored(A, Link(C, 3), blobs=(Link(C, 3),))])
    await known.metadata.restore("one", [restored(B, Link(A, 10, manifest=True))])

    index = await known.metadata.manifest("one", B)
    assert index is not None
    assert index.total == 10 + 13


async def test_what_is_known_stays_as_it_is(known: Known) -> None:
    metadata = known.metadata
    await metadata.put_manifest("one", NewManifest(A, OCI, 10, ()), ["v1"])
    await metadata.put_manifest("one", NewManifest(B, INDEX, 10, ()), [])
    before = await metadata.manifest("one", A)

    assert await metadata.restore("one", [restored(A)]) == 0
    assert await metadata.restore_tags("one", [Tag("v1", B, LONG_AGO), Tag("v2", B, LONG_AGO)]) == ["v2"]

    assert await metadata.manifest("one", A) == before
    assert await metadata.known_names("one", ["v1", "v2"]) == {"v1": A, "v2": B}
    tag = await metadata.tag("one", "v2")
    assert tag is not None
    assert tag.updated_at == LONG_AGO


async def test_a_tag_does_not_come_back_without_its_manifest(known: Known) -> None:
    await known.metadata.restore("one", [restored(A)])

    assert await known.metadata.restore_tags("one", [Tag("v1", A, LONG_AGO), Tag("v2", B, LONG_AGO)]) == ["v1"]
    assert await known.metadata.restore_tags("two", [Tag("v1", A, LONG_AGO)]) == []


async def test_what_was_deleted_a_moment_ago_does_not_come_back(known: Known) -> None:
    metadata = known.metadata
    for digest in (A, B):
        await metadata.put_manifest("one", NewManifest(digest, OCI, 10, ()), [f"v-{digest[7]}"])
    await metadata.delete_manifest("one", A)
    await metadata.delete_tag("one", "v-b")

    assert await metadata.restore("one", [restored(A)]) == 0
    assert await metadata.restore_tags("one", [Tag("v-b", B, LONG_AGO)]) == []

    await metadata.renamed([one.number for one in await metadata.renames()])
    assert await metadata.restore("one", [restored(A)]) == 1
    assert await metadata.restore_tags("one", [Tag("v-b", B, LONG_AGO)]) == ["v-b"]


async def test_what_comes_back_for_nobody_need_not_stay_unless_it_has_a_tag(known: Known) -> None:
    metadata = known.metadata
    await metadata.restore("one", [restored(A), restored(B)], abandoned=True)
    await metadata.restore("one", [restored(C)])
    await metadata.restore_tags("one", [Tag("v1", B, LONG_AGO)])
    await metadata.delete_tag("one", "v1")

    found = await metadata.garbage("one", Sweep(datetime.now(UTC) + timedelta(minutes=1)))

    assert [one.name for one in found] == [A]


async def test_a_thousand_names_come_back_at_once(known: Known) -> None:
    digests = [f"sha256:{n:064x}" for n in range(1100)]
    await known.metadata.restore("one", [restored(digest) for digest in digests])

    tags = [Tag(f"t{n}", digest, LONG_AGO) for n, digest in enumerate(digests)]
    assert len(await known.metadata.restore_tags("one", tags)) == 1100
    assert len(await known.metadata.known_names("one", [*digests, *(tag.name for tag in tags)])) == 2200
