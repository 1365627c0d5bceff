"""What rules forbid, and where tags may be moved to, in memory and in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lumper.errors import Conflict, NotFound, RuleForbids
from lumper.model.images.activity import RETENTION, Actor, AuditAction
from lumper.model.images.garbage import Sweep
from lumper.model.images.image import Link, NewManifest, TagState
from lumper.model.images.rules import Keep, Rule
from lumper.registry.port import Metadata
from parts.registries.known_metadata import Known

A, B, C, D = (f"sha256:{letter * 64}" for letter in "abcd")
OCI = "application/vnd.oci.image.manifest.v1+json"
ANN = Actor("ann", "admin", "192.0.2.7")
FROZEN = Rule("one", immutable=("v*",), mutable=("v0*",))


async def push(metadata: Metadata, digest: str, *tags: str, links: tuple[Link, ...] = ()) -> None:
    await metadata.put_manifest("one", NewManifest(digest, OCI, 10, links), tags, ANN)


async def pointed(metadata: Metadata, name: str) -> str:
    tag = await metadata.tag("one", name)
    return tag.digest if tag else ""


async def test_rules_are_kept_with_all_that_they_say_and_who_made_them(metadata: Metadata) -> None:
    full = Rule("a/*", ("v*",), ("v0*",), Keep(1, 2.5, 3, 4, 5, ("latest",)), 1 << 50)
    await metadata.set_rule(Rule("a/*", quota=1), ANN)
    await metadata.set_rule(full, ANN)
    await metadata.set_rule(FROZEN, ANN)

    assert (await metadata.rules()).all == (FROZEN, full)
    await metadata.remove_rule("a/*", ANN)
    assert (await metadata.rules()).all == (FROZEN,)
    with pytest.raises(NotFound):
        await metadata.remove_rule("a/*", ANN)
    told = await metadata.activities(action=AuditAction.RULE, oldest_first=True)
    assert [(one.repository, one.actor, one.detail) for one in told] == [
        ("a/*", ANN, "at most 1 B"),
        ("a/*", ANN, "; ".join(["immutable v*", "but not v0*", "keep the newest image",
                                "keep what was pushed within 2.5 days", "keep what was pulled within 3 days",
                                "keep the 4 highest minor lines",
                                "keep the 5 highest versions of each line", "keep latest",
                                "at most 1024 TiB"])),
        ("one", ANN, "immutable v*; but not v0*"),
        ("a/*", ANN, "removed"),
    ]  # fmt: skip


async def test_an_immutable_tag_is_set_once(metadata: Metadata) -> None:
    await metadata.set_rule(FROZEN, ANN)
    await push(metadata, A, "v1", "v0.1", "latest")
    await push(metadata, A, "v1")

    with pytest.raises(RuleForbids, match=r"one:v1 is immutable by the rule for one"):
        await push(metadata, B, "latest", "v1")
    assert await metadata.manifest("one", B) is None
    assert await pointed(metadata, "latest") == A

    await push(metadata, B, "latest", "v0.1")
    assert await pointed(metadata, "v0.1") == B


async def test_an_immutable_tag_does_not_go_nor_its_manifest_nor_what_that_needs(metadata: Metadata) -> None:
    await metadata.set_rule(FROZEN, ANN)
    await metadata.link_blob("one", D, 5)
    await metadata.link_blob("one", C, 5)
    await push(metadata, A, links=(Link(D, 5),))
    await push(metadata, B, "v1", "x", links=(Link(A, 10, manifest=True),))

    with pytest.raises(RuleForbids):
        await metadata.delete_tag("one", "v1", ANN)
    for digest in (A, B):
        with pytest.raises(RuleForbids):
            await metadata.delete_manifest("one", digest, ANN)
    with pytest.raises(RuleForbids):
        await metadata.unlink_blob("one", D)

    assert await metadata.delete_tag("one", "x", ANN)
    assert await metadata.unlink_blob("one", C)
    assert await pointed(metadata, "v1") == B
    assert await metadata.has_blob("one", D)


async def test_what_is_no_longer_immutable_moves_at_once(metadata: Metadata) -> None:
    await push(metadata, A, "v1")
    await metadata.set_rule(FROZEN, ANN)
    with pytest.raises(RuleForbids):
        await push(metadata, B, "v1")
    await metadata.remove_rule("one", ANN)

    await push(metadata, B, "v1")

    assert await pointed(metadata, "v1") == B


async def test_a_build_does_not_move_an_immutable_tag_and_leaves_nothing_half_done(known: Known) -> None:
    await push(known.metadata, A, "v1", "latest")
    await push(known.metadata, B, "_build-7-1")
    await known.metadata.set_rule(FROZEN, ANN)

    with pytest.raises(RuleForbids):
        await known.moved("one", B, ["v1", "latest"], 7)

    assert await pointed(known.metadata, "latest") == A
    manifest = await known.metadata.manifest("one", B)
    assert manifest is not None
    assert manifest.build_id is None


async def test_a_tag_is_pointed_at_what_is_there_if_it_is_where_it_is_expected(metadata: Metadata) -> None:
    await push(metadata, A, "x")
    await push(metadata, B)

    await metadata.point_tag("one", "x", B, ANN, expected=A, detail="why")
    await metadata.point_tag("one", "new", A, ANN, expected="")
    with pytest.raises(Conflict):
        await metadata.point_tag("one", "x", A, ANN, expected=A)
    with pytest.raises(Conflict):
        await metadata.point_tag("one", "x", A, ANN, expected="")
    with pytest.raises(NotFound):
        await metadata.point_tag("one", "x", C, ANN)
    with pytest.raises(NotFound):
        await metadata.point_tag("two", "x", A, ANN)

    assert (await pointed(metadata, "x"), await pointed(metadata, "new")) == (B, A)
    told = await metadata.activities(tag="x", limit=1)
    assert [(one.action, one.before, one.digest, one.actor, one.detail) for one in told] == [
        (AuditAction.TAG, A, B, ANN, "why")
    ]


async def test_a_tag_is_pushed_and_removed_if_it_is_where_it_is_expected(metadata: Metadata) -> None:
    await push(metadata, A, "x")
    for expected, digest, name in [("", A, "x"), (B, B, "x"), (A, B, "new")]:
        with pytest.raises(Conflict):
            await metadata.put_manifest("one", NewManifest(digest, OCI, 10, ()), [name], ANN, expected=expected)
    with pytest.raises(Conflict):
        await metadata.put_manifest("two", NewManifest(A, OCI, 10, ()), ["x"], ANN, expected=A)
    for expected in ("", B):
        with pytest.raises(Conflict):
            await metadata.delete_tag("one", "x", ANN, expected=expected)
    assert await pointed(metadata, "x") == A
    assert await metadata.manifest("one", B) is None

    await metadata.put_manifest("one", NewManifest(B, OCI, 10, ()), ["x"], ANN, expected=A)
    await metadata.put_manifest("one", NewManifest(B, OCI, 10, ()), ["new"], ANN, expected="")
    assert (await pointed(metadata, "x"), await pointed(metadata, "new")) == (B, B)
    assert await metadata.delete_tag("one", "x", ANN, expected=B)
    assert not await metadata.delete_tag("one", "x", ANN, expected="")


async def test_an_immutable_tag_is_not_pointed_elsewhere(metadata: Metadata) -> None:
    await push(metadata, A, "v1")
    await push(metadata, B)
    await metadata.set_rule(FROZEN, ANN)

    await metadata.point_tag("one", "v1", A, ANN)
    with pytest.raises(RuleForbids):
        await metadata.point_tag("one", "v1", B, ANN)


async def test_what_a_tag_has_left_is_no_garbage_for_a_while(metadata: Metadata) -> None:
    await push(metadata, A, "x")
    await push(metadata, C, "y")
    await push(metadata, B, "x")
    await metadata.delete_tag("one", "y", ANN)
    soon, lately = datetime.now(UTC) + timedelta(minutes=1), datetime.now(UTC) - timedelta(minutes=1)

    async def garbage(left: datetime | None) -> list[str]:
        return [one.name for one in await metadata.garbage("one", Sweep(soon, untagged=True, left=left))]

    assert await garbage(lately) == []
    found = await metadata.garbage("one", Sweep(soon, untagged=True))
    assert [one.name for one in found] == [A, C]
    assert await metadata.collect("one", found, Sweep(soon, untagged=True, left=lately)) == []
    assert await garbage(soon) == [A, C]

    await metadata.point_tag("one", "y", C, ANN)
    assert await garbage(None) == [A]


async def states(metadata: Metadata) -> dict[str, TagState]:
    return {state.name: state for state in await metadata.tag_states("one")}


async def test_tags_are_told_with_the_last_pull_of_what_they_point_at(metadata: Metadata) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    await push(metadata, A, "a", "b", "_build-1-1")
    await push(metadata, B, "c")
    await metadata.pulled({("one", A): at, ("one", C): at, ("none", A): at})

    found = await states(metadata)

    assert {name: (state.digest, state.pulled_at) for name, state in found.items()} == {
        "a": (A, at),
        "b": (A, at),
        "c": (B, None),
    }
    assert await metadata.tag_states("none") == []
    later = at + timedelta(days=1)
    await push(metadata, C, "index", links=(Link(B, 10, manifest=True),))
    await metadata.pulled({("one", B): later})
    assert {name: state.pulled_at for name, state in (await states(metadata)).items()} == {
        "a": at,
        "b": at,
        "c": later,
        "index": later,
    }
    await push(metadata, A, "a")
    assert (await states(metadata))["a"].pulled_at == at


async def test_digests_are_found_by_how_they_begin(metadata: Metadata) -> None:
    for digest in (A, B, C):
        await push(metadata, digest)

    assert await metadata.digests("one", A[:20], 2) == [A]
    assert await metadata.digests("one", "sha256:", 2) == sorted([A, B, C])[:2]
    assert await metadata.digests("one", "sha512:", 2) == []
    assert await metadata.digests("none", A[:20], 2) == []


async def test_tags_are_told_by_digest_and_name_page_by_page_also_those_of_some_digests_alone(
    metadata: Metadata,
) -> None:
    for digest, names in ((C, ("a", "z")), (A, ("y", "b", "B")), (B, ("x",))):
        await push(metadata, digest, *names)
    order = [(A, "B"), (A, "b"), (A, "y"), (B, "x"), (C, "a"), (C, "z")]

    told, after = [], ("", "")
    while page := await metadata.tag_states("one", after=after, limit=2):
        told += [(state.digest, state.name) for state in page]
        after = told[-1]

    assert told == order
    some = await metadata.tag_states("one", after=(A, "b"), among=[A, C])
    assert [(state.digest, state.name) for state in some] == [(A, "y"), (C, "a"), (C, "z")]
    for behind, letters in ((("", ""), "Bby"), ((A, "B"), "by"), ((A, "y"), ""), ((B, "x"), "")):
        alone = await metadata.tag_states("one", after=behind, among=[A])
        assert [state.name for state in alone] == list(letters), behind
    named = await metadata.states_of("one", ["z", "b", "none"])
    assert [(state.name, state.digest) for state in named] == [("b", A), ("z", C)]


async def test_only_what_is_as_it_was_is_retired(metadata: Metadata) -> None:
    await metadata.set_rule(FROZEN, ANN)
    await push(metadata, A, "v1", "x", "moved")
    await push(metadata, B, "y", "again")
    before = await states(metadata)
    await push(metadata, B, "moved", "again")

    gone = await metadata.retire("one", list(before.values()), "why")

    assert gone == ["x", "y"]
    assert sorted(await states(metadata)) == ["again", "moved", "v1"]
    told = await metadata.activities(action=AuditAction.UNTAG, oldest_first=True)
    assert [(one.tag, one.before, one.actor, one.detail) for one in told] == [
        ("x", A, RETENTION, "why"),
        ("y", B, RETENTION, "why"),
    ]
    assert await metadata.retire("none", list(before.values()), "why") == []


async def test_a_manifest_that_was_retired_goes_with_its_children_unless_it_is_tagged_again(
    metadata: Metadata,
) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)

    async def collected() -> list[str]:
        gone = await metadata.collect("one", await metadata.garbage("one", Sweep(soon)), Sweep(soon))
        return [one.name for one in gone]

    await push(metadata, A)
    await push(metadata, B, "x", links=(Link(A, 10, manifest=True),))
    await push(metadata, C, "y")
    await push(metadata, D)
    assert sorted(await metadata.retire("one", list((await states(metadata)).values()), "why")) == ["x", "y"]
    lately = datetime.now(UTC) - timedelta(minutes=1)
    assert await metadata.garbage("one", Sweep(soon, left=lately)) == []
    await metadata.point_tag("one", "y", C, ANN)

    assert await collected() == [B]
    assert await collected() == [A]
    assert await collected() == []
    told = await metadata.activities(action=AuditAction.DELETE)
    assert [(one.digest, one.actor) for one in told] == [(B, RETENTION)]


async def test_what_repositories_hold_together_counts_once(metadata: Metadata) -> None:
    for repository, digest, size in (
        ("team/a", A, 100),
        ("team/b", A, 100),
        ("team/b", B, 10),
        ("team/b/deep", C, 1000),
        ("team_x/a", C, 1000),
    ):
        await metadata.link_blob(repository, digest, size)
    await metadata.put_manifest("team/a", NewManifest(D, OCI, 7, ()), ["x"], ANN)

    assert await metadata.usage("team/*") == 117
    assert await metadata.usage("team/**") == 1117
    assert await metadata.usage("**") == 1117
    assert await metadata.usage("none/*") == 0
    assert await metadata.usage("team/*", without=[A, D]) == 10
    assert await metadata.holds("team/*", A)
    assert await metadata.holds("team/*", D)
    assert not await metadata.holds("team/*", C)
