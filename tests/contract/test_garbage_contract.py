"""What the registry's metadata call garbage, in memory and in the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lumper.model.images.garbage import Garbage, GarbageKind, Sweep
from lumper.model.images.image import Link, NewManifest
from parts.registries.known_garbage import SOON, Known, memory, postgresql, sqlite

A, B, C, D, E = (f"sha256:{letter * 64}" for letter in "abcde")
OCI = "application/vnd.oci.image.manifest.v1+json"


KINDS = [memory, sqlite, pytest.param(postgresql, marks=pytest.mark.postgresql)]


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
async def known(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Known]:
    make: Callable[[Path, pytest.FixtureRequest], AbstractAsyncContextManager[Known]] = request.param
    async with make(tmp_path, request) as made:
        yield made


async def push(known: Known, digest: str, *links: Link, tags: Sequence[str] = (), subject: str = "") -> None:
    for link in links:
        if not link.manifest:
            await known.metadata.link_blob("one", link.digest, link.size)
    await known.metadata.put_manifest("one", NewManifest(digest, OCI, 10, links, subject), tags)


async def test_a_blob_is_loose_while_no_manifest_refers_to_it(known: Known) -> None:
    await known.metadata.link_blob("one", A, 5)
    await push(known, B, Link(C, 7), tags=["x"])

    found = await known.metadata.garbage("one", Sweep(datetime.now(UTC) + SOON))

    assert found == [Garbage(GarbageKind.LINK, "one", A, 5)]
    assert await known.found(repository="two") == []


async def test_nothing_is_garbage_within_the_grace(known: Known) -> None:
    before = datetime.now(UTC) - SOON
    await known.metadata.link_blob("one", A, 5)
    await push(known, B)

    assert await known.metadata.garbage("one", Sweep(before, untagged=True)) == []
    await known.metadata.unlink_blob("one", A)
    assert await known.metadata.idle_blobs(before) == []


async def test_what_lost_its_tag_stays_unless_it_is_told_to_go(known: Known) -> None:
    await push(known, A, Link(C, 1), tags=["x"])
    await push(known, B, Link(C, 1), Link(D, 1), tags=["x"])

    assert await known.found() == []
    assert await known.collect(untagged=True) == [("manifest", A)]
    assert await known.metadata.delete_manifest("one", B)
    assert await known.collect() == [("link", C), ("link", D)]
    assert not await known.metadata.has_blob("one", C)


async def test_children_stay_with_their_index(known: Known) -> None:
    await push(known, A, Link(C, 1))
    await push(known, B, Link(A, 10, manifest=True), tags=["x"])

    assert await known.found(untagged=True) == []
    assert await known.metadata.delete_tag("one", "x")
    assert await known.found(untagged=True) == [("manifest", B)]
    assert await known.collect(untagged=True) == [("manifest", B), ("manifest", A), ("link", C)]


async def test_referrers_stay_with_their_subject(known: Known) -> None:
    await push(known, A, tags=["x"])
    await push(known, B, Link(C, 1), subject=A)
    await push(known, D, subject=B)

    assert await known.found(untagged=True) == []
    assert await known.metadata.delete_manifest("one", A)
    assert await known.found() == []
    assert await known.collect(untagged=True) == [("manifest", B), ("manifest", D), ("link", C)]


async def test_signatures_and_attestations_go_with_their_image(known: Known) -> None:
    name = A.replace(":", "-")
    await push(known, A, tags=["x"])
    await push(known, B, tags=[f"{name}.sig"], subject=A)
    await push(known, C, tags=[f"{name}.att"])
    await push(known, D, tags=["other", name])  # somebody has another use for it
    statement = NewManifest(E, OCI, 10, (), A, "application/vnd.in-toto+json")
    await known.metadata.put_manifest("one", statement, [])
    assert await known.found() == []

    assert await known.metadata.delete_manifest("one", A)

    assert [tag.name for tag in await known.metadata.tags("one") or []] == ["other"]
    assert sorted(await known.collect()) == sorted([("manifest", B), ("manifest", C), ("manifest", E)])
    renamed = {one.reference for one in await known.metadata.renames()}
    assert renamed >= {A, "x", name, f"{name}.sig", f"{name}.att"}


async def test_what_is_beside_an_image_goes_when_that_is_collected(known: Known) -> None:
    name = A.replace(":", "-")
    await push(known, A)
    await push(known, B, tags=[f"{name}.sig"], subject=A)
    assert await known.collect(untagged=True) == [("manifest", A), ("manifest", B)]
    assert await known.metadata.tags("one") in ([], None)


async def test_what_loses_its_last_reason_is_young_again(known: Known) -> None:
    await push(known, A, Link(C, 1))
    await push(known, B, Link(A, 10, manifest=True), tags=["x"])
    then = datetime.now(UTC)

    assert await known.metadata.delete_manifest("one", B)
    assert await known.metadata.garbage("one", Sweep(then, untagged=True)) == []
    assert await known.metadata.delete_manifest("one", A)
    assert await known.metadata.garbage("one", Sweep(then, untagged=True)) == []
    assert await known.metadata.unlink_blob("one", C)
    assert await known.metadata.idle_blobs(then) == []


async def test_digests_of_builds_and_rollouts_stay(known: Known) -> None:
    await push(known, A)
    await push(known, B)
    await push(known, C)
    await known.ended(await known.begun(), A)
    await known.rolled_out(B)

    assert await known.found(untagged=True) == [("manifest", C)]


async def test_what_a_build_left_behind_goes_when_it_has_ended(known: Known) -> None:
    build = await known.begun()
    await push(known, A, Link(D, 1))
    await push(known, B, Link(A, 10, manifest=True), tags=[f"_build-{build}-1", "_build-by-hand"])
    await push(known, C, Link(D, 1), tags=["x"])
    await push(known, E, tags=[f"_build-{build}-2"])
    assert await known.found() == []

    await known.ended(build, "")

    assert await known.collect() == [("tag", f"_build-{build}-1"), ("tag", f"_build-{build}-2"), ("manifest", E)]
    assert await known.metadata.delete_tag("one", "_build-by-hand")
    assert await known.collect() == [("manifest", B), ("manifest", A)]
    assert await known.metadata.manifest("one", C) is not None
    assert await known.metadata.has_blob("one", D)


async def test_a_build_that_nobody_knows_any_more_has_ended(known: Known) -> None:
    await push(known, A, tags=["_build-77-1"])

    assert await known.collect() == [("tag", "_build-77-1"), ("manifest", A)]


async def test_what_is_pushed_or_tagged_again_is_not_left_behind(known: Known) -> None:
    for digest, number in ((A, 77), (B, 78)):
        await push(known, digest, tags=[f"_build-{number}-1"])
    before = datetime.now(UTC) + SOON
    stale = await known.metadata.garbage("one", Sweep(before))
    assert len(await known.metadata.collect("one", stale, Sweep(before))) == 2
    assert await known.found() == [("manifest", A), ("manifest", B)]

    await push(known, A)
    await known.moved("one", B, ["x"], 78)
    assert await known.metadata.delete_tag("one", "x")

    assert await known.found() == []


async def test_garbage_is_judged_again_when_it_goes(known: Known) -> None:
    await known.metadata.link_blob("one", A, 5)
    await push(known, B)
    await push(known, C, tags=["_build-77-1"])
    before = datetime.now(UTC) + SOON
    found = await known.metadata.garbage("one", Sweep(before, untagged=True))
    assert len(found) == 3

    await push(known, D, Link(A, 5), Link(B, 10, manifest=True), tags=["x", "_build-77-1"])

    assert await known.metadata.collect("one", found, Sweep(datetime.now(UTC) - SOON, untagged=True)) == []
    gone = await known.metadata.collect("one", found, Sweep(before, untagged=True))
    assert [one.kind for one in gone] == [GarbageKind.TAG]
    assert await known.metadata.has_blob("one", A)
    assert await known.metadata.manifest("one", B) is not None
    assert await known.metadata.collect("two", found, Sweep(before)) == []


async def test_bytes_are_idle_when_no_repository_has_them(known: Known) -> None:
    await push(known, A, Link(C, 7), tags=["x"])
    await known.metadata.link_blob("two", C, 7)
    assert await known.idle() == []

    assert await known.metadata.delete_manifest("one", A)
    assert await known.metadata.unlink_blob("one", C)
    assert await known.idle() == [A]
    assert await known.metadata.unlink_blob("two", C)

    soon = datetime.now(UTC) + SOON
    assert await known.metadata.idle_blobs(soon) == [(A, 10), (C, 7)]
    assert await known.metadata.idle_blobs(soon, limit=1) == [(A, 10)]
    assert await known.metadata.idle_blobs(soon, after=A) == [(C, 7)]


async def test_only_what_is_idle_is_forgotten(known: Known) -> None:
    for digest in (A, B):
        await known.metadata.link_blob("one", digest, 5)
        assert await known.metadata.unlink_blob("one", digest)
    await known.metadata.link_blob("one", B, 5)

    await known.metadata.forget_blobs([A, B, C], datetime.now(UTC) + SOON)

    assert await known.idle() == []
    assert await known.metadata.unlink_blob("one", B)
    assert await known.idle() == [B]


async def test_a_page_has_at_most_as_many_as_asked_for(known: Known) -> None:
    for n in range(1200):
        await known.metadata.put_manifest("one", NewManifest(f"sha256:{n:064x}", OCI, 1, ()), [])

    found = await known.metadata.garbage("one", Sweep(datetime.now(UTC) + SOON, untagged=True), limit=1100)

    assert len(found) == 1100
    assert len(await known.metadata.collect("one", found, Sweep(datetime.now(UTC) + SOON, untagged=True))) == 1100
    assert len(await known.found(untagged=True)) == 100


async def test_bytes_that_nobody_knew_of_are_adopted_with_their_time(known: Known) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    await known.metadata.link_blob("one", A, 5)

    assert await known.metadata.adopt_blobs([(A, 5, long_ago), (B, 7, long_ago)]) == 1
    assert await known.metadata.adopt_blobs([(A, 5, long_ago), (B, 7, long_ago)]) == 0

    assert await known.metadata.idle_blobs(datetime.now(UTC) - SOON) == [(B, 7)]
    assert await known.metadata.known_blobs() == {A: (5, True), B: (7, False)}
    assert await known.metadata.known_blobs(A) == {B: (7, False)}
    assert await known.metadata.known_blobs("", A) == {A: (5, True)}


async def test_a_whole_repository_has_no_flaws(known: Known) -> None:
    await push(known, A, Link(C, 1))
    await push(known, B, Link(A, 10, manifest=True), tags=["x"])

    assert await known.metadata.flaws("one") == []
    assert await known.metadata.flaws("two") == []


async def test_flaws_are_what_is_referred_to_and_not_there(known: Known) -> None:
    await push(known, A, Link(C, 1))
    await push(known, B, Link(A, 10, manifest=True), tags=["x"])
    assert await known.metadata.delete_manifest("one", A)
    await known.metadata.put_manifest("one", NewManifest(D, OCI, 10, (Link(E, 1),)), ["y"])

    flaws = await known.metadata.flaws("one")

    assert [name for name, _ in flaws] == [A, E]
    assert "index" in flaws[0][1]
    assert "may not serve" in flaws[1][1]


async def test_what_is_touched_is_young_again(known: Known) -> None:
    metadata = known.metadata
    await metadata.put_manifest("one", NewManifest(A, OCI, 10, ()), ["1", "2"])
    await metadata.put_manifest("one", NewManifest(B, OCI, 10, ()), [])
    await metadata.put_manifest("one", NewManifest(C, OCI, 10, ()), [])
    before = {tag.name: tag for tag in await metadata.tags("one") or []}
    since = datetime.now(UTC)

    await metadata.touch("one", A, ["1", "3"])
    await metadata.touch("one", B)
    await metadata.touch("two", B, ["1"])

    after = {tag.name: tag for tag in await metadata.tags("one") or []}
    assert after.keys() == before.keys()
    assert after["1"].updated_at >= since
    assert after["1"].digest == A
    assert after["2"] == before["2"]
    old = await metadata.garbage("one", Sweep(since, untagged=True))
    assert [one.name for one in old] == [C]


async def test_what_a_build_gave_up_is_found_however_old_it_is(known: Known) -> None:
    build = await known.begun()
    await push(known, A, tags=[f"_build-{build}-1"])
    await known.ended(build, "")
    later, soon = datetime.now(UTC) + SOON / 2, datetime.now(UTC) + SOON

    tags = await known.metadata.garbage("one", Sweep(soon, since=later))
    assert [one.kind for one in tags] == [GarbageKind.TAG]
    assert "one" in await known.metadata.restless(Sweep(soon, since=later))
    await known.metadata.collect("one", tags, Sweep(soon))

    assert [one.name for one in await known.metadata.garbage("one", Sweep(soon, since=later))] == [A]
    assert "one" in await known.metadata.restless(Sweep(soon, since=later))


async def test_what_lost_its_tag_is_found_when_it_comes_of_age_however_old_it_is(known: Known) -> None:
    await push(known, A, tags=["x"])
    await asyncio.sleep(0.01)
    since = datetime.now(UTC)
    await push(known, B, tags=["x"])
    moved = datetime.now(UTC)

    async def found(left: datetime) -> list[str]:
        before = moved + SOON
        begun = before - (moved - since)  # nothing was pushed since then
        here = await known.metadata.restless(Sweep(before, since=begun, untagged=True, left=left))
        garbage = await known.metadata.garbage("one", Sweep(before, untagged=True, left=left, since=begun))
        return [one.name for one in garbage] if "one" in here else []

    assert await found(since) == []
    assert await found(moved) == [A]
