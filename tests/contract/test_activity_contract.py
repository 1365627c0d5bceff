"""What the activity log tells, in memory and in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lumper.model.images.activity import Actor, AuditAction
from lumper.model.images.image import NewManifest
from lumper.registry.port import Metadata
from parts.registries.known_metadata import Known

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
OCI = "application/vnd.oci.image.manifest.v1+json"
ANN = Actor("ann", "admin", "192.0.2.7")
BOB = Actor("bob", "operator", "192.0.2.8")


async def push(metadata: Metadata, digest: str, *tags: str, to: str = "one", actor: Actor = ANN) -> None:
    await metadata.put_manifest(to, NewManifest(digest, OCI, 10, ()), tags, actor)


async def told(metadata: Metadata, **which: Any) -> list[tuple[AuditAction, str, str, str]]:
    found = await metadata.activities(**{"oldest_first": True, **which})
    return [(one.action, one.tag, one.before[7:8], one.digest[7:8]) for one in found]


async def test_a_push_tells_of_the_manifest_and_of_each_tag_that_it_sets(metadata: Metadata) -> None:
    begun = datetime.now(UTC)
    await push(metadata, A, "1.0", "latest")

    assert await told(metadata) == [
        (AuditAction.PUSH, "", "", "a"),
        (AuditAction.TAG, "1.0", "", "a"),
        (AuditAction.TAG, "latest", "", "a"),
    ]
    for one in await metadata.activities():
        assert (one.repository, one.actor) == ("one", ANN)
        assert begun <= one.at <= datetime.now(UTC)


async def test_a_tag_that_moves_tells_where_it_was_and_one_that_stays_tells_nothing(metadata: Metadata) -> None:
    await push(metadata, A, "latest", "same")
    await push(metadata, A, "same")
    await push(metadata, B, "latest")

    assert await told(metadata, tag="latest") == [
        (AuditAction.TAG, "latest", "", "a"),
        (AuditAction.TAG, "latest", "a", "b"),
    ]
    assert await told(metadata, tag="same") == [(AuditAction.TAG, "same", "", "a")]
    assert len(await told(metadata, action=AuditAction.PUSH)) == 3


async def test_what_is_removed_is_told_with_who_did_it(metadata: Metadata) -> None:
    await push(metadata, A, "x", "y", "z")

    await metadata.delete_tag("one", "x", BOB)
    await metadata.delete_tag("one", "x", BOB)
    await metadata.delete_manifest("one", A, BOB)
    await metadata.delete_manifest("one", A, BOB)

    assert await told(metadata, actor="bob") == [
        (AuditAction.UNTAG, "x", "a", ""),
        (AuditAction.UNTAG, "y", "a", ""),
        (AuditAction.UNTAG, "z", "a", ""),
        (AuditAction.DELETE, "", "", "a"),
    ]


async def test_a_build_is_told_when_it_is_accepted_and_not_before(known: Known) -> None:
    await push(known.metadata, A, "latest")
    await push(known.metadata, B, "_build-7-1", actor=Actor("worker", "worker"))
    assert len(await known.metadata.activities()) == 2

    await known.moved("one", B, ["1.0", "latest"], 7)
    await known.dropped("one", "_build-7-1")

    assert (await told(known.metadata))[2:] == [
        (AuditAction.TAG, "1.0", "", "b"),
        (AuditAction.TAG, "latest", "a", "b"),
    ]
    assert [one.detail for one in await known.metadata.activities(limit=2)] == ["build 7", "build 7"]


async def test_activities_are_found_by_repository_tag_actor_and_action(metadata: Metadata) -> None:
    await push(metadata, A, "x")
    await push(metadata, B, "x", to="two", actor=BOB)
    await push(metadata, C, "y", to="two", actor=ANN)

    assert await told(metadata, repository="two", tag="x") == [(AuditAction.TAG, "x", "", "b")]
    assert await told(metadata, actor="ann", action=AuditAction.PUSH) == [
        (AuditAction.PUSH, "", "", "a"),
        (AuditAction.PUSH, "", "", "c"),
    ]
    assert await told(metadata, repository="three") == []
    assert await told(metadata, repository="two", without=AuditAction.PUSH, limit=2) == [
        (AuditAction.TAG, "x", "", "b"),
        (AuditAction.TAG, "y", "", "c"),
    ]


async def test_activities_are_read_on_from_either_end(metadata: Metadata) -> None:
    for digest in (A, B, C):
        await push(metadata, digest)
    old_to_new = await metadata.activities(oldest_first=True)

    assert await metadata.activities() == old_to_new[::-1]
    assert [one.id for one in old_to_new] == sorted({one.id for one in old_to_new})
    first = await metadata.activities(oldest_first=True, limit=2)
    assert first == old_to_new[:2]
    assert await metadata.activities(oldest_first=True, after=first[-1].id) == old_to_new[2:]
    assert await metadata.activities(after=old_to_new[-1].id, limit=1) == [old_to_new[1]]
    assert await metadata.activities(oldest_first=True, after=old_to_new[-1].id) == []


async def test_old_activities_are_forgotten_and_no_id_comes_twice(metadata: Metadata) -> None:
    await push(metadata, A, "x")
    last = (await metadata.activities(limit=1))[0].id

    assert await metadata.forget_activities(datetime.now(UTC) - timedelta(minutes=1)) == 0
    assert await metadata.forget_activities(datetime.now(UTC) + timedelta(minutes=1)) == 2
    assert await metadata.activities() == []

    await push(metadata, B)
    assert [one.digest for one in await metadata.activities(oldest_first=True, after=last)] == [B]


async def test_thousands_of_old_activities_are_forgotten(metadata: Metadata) -> None:
    await push(metadata, A, *(f"t{number}" for number in range(2500)))

    assert await metadata.forget_activities(datetime.now(UTC) + timedelta(minutes=1)) == 2501
    assert await metadata.activities() == []


async def test_names_from_outside_may_be_long_and_strange(metadata: Metadata) -> None:
    await push(metadata, A, actor=Actor("\0né" + "x" * 1000, "build"))

    assert (await metadata.activities())[0].actor.name.lstrip("\0").startswith("né")
