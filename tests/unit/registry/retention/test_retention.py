"""What retention keeps, and why: the decision alone, and its run over metadata in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.model.images.activity import Actor, AuditAction
from lumper.model.images.image import NewManifest, TagState
from lumper.model.images.rules import Keep, Rule
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.port import Metadata
from lumper.registry.retention.pulls import Pulls
from lumper.registry.retention.run import Retention
from lumper.registry.retention.verdicts import Judge, Survey, Verdict

NOW = datetime(2026, 1, 31, tzinfo=UTC)
OCI = "application/vnd.oci.image.manifest.v1+json"
ANN = Actor("ann", "admin")


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def tag(name: str, number: int, days: float = 0, pulled: float | None = None) -> TagState:
    """A tag of the image `number`, set and pulled so many days ago."""
    at = None if pulled is None else NOW - timedelta(days=pulled)
    return TagState(name, digest(number), NOW - timedelta(days=days), at)


def judged(
    tags: Sequence[TagState], keep: Keep, freezing: Rule | None = None, needed: dict[str, str] | None = None
) -> list[Verdict]:
    survey = Survey(keep)
    survey.add(tags)
    judge = Judge("one", Rule("one", keep=keep), survey.marks(), freezing, needed or {}, NOW)
    return judge.verdicts(tags, judge.reasons(tags))


def kept(tags: Sequence[TagState], keep: Keep, freezing: Rule | None = None, **needed: str) -> list[str]:
    return [verdict.tag for verdict in judged(tags, keep, freezing, needed) if verdict.kept]


def test_the_last_images_are_counted_and_not_their_tags() -> None:
    tags = [tag("1", 1, 6), tag("2", 2, 5), tag("2-again", 2, 8), tag("3", 3, 1), tag("latest", 3, 1)]

    assert kept(tags, Keep(last=2)) == ["2", "2-again", "3", "latest"]


def test_days_count_from_the_push_and_from_the_last_pull() -> None:
    tags = [tag("old", 1, 40), tag("new", 2, 3), tag("used", 3, 40, pulled=3), tag("unused", 4, 40, pulled=20)]

    assert kept(tags, Keep(pushed_days=7)) == ["new"]
    assert kept(tags, Keep(pulled_days=7)) == ["used"]
    assert kept(tags, Keep(pushed_days=7, pulled_days=30)) == ["new", "used", "unused"]


VERSIONS = ["1.0.0", "1.1.0", "1.1.1", "1.2.0", "1.2.9", "1.2.10", "2.0.0-rc.1", "2.0.0", "latest", "edge"]


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (Keep(minors=2), ["1.2.0", "1.2.9", "1.2.10", "2.0.0"]),
        (Keep(patches=1), ["1.0.0", "1.1.1", "1.2.10", "2.0.0"]),
        (Keep(minors=3, patches=2), ["1.1.0", "1.1.1", "1.2.9", "1.2.10", "2.0.0"]),
        (Keep(minors=1, always=("1.0.*",)), ["1.0.0", "2.0.0"]),
    ],
)
def test_the_highest_lines_and_patches_stay(keep: Keep, expected: list[str]) -> None:
    assert kept([tag(name, number) for number, name in enumerate(VERSIONS)], keep) == expected


def test_a_floating_tag_stays_with_the_version_that_it_points_at() -> None:
    tags = [tag("v1.2.3", 1), tag("1.2.3", 1), tag("1.2", 1), tag("latest", 1), tag("v1.2.2", 2), tag("stable", 2)]

    assert kept(tags, Keep(minors=1, patches=1)) == ["v1.2.3", "1.2.3", "1.2", "latest"]


def test_what_is_needed_immutable_or_always_kept_stays_and_says_why() -> None:
    tags = [tag("run", 1, 99), tag("v1", 2, 99), tag("latest", 3, 99), tag("other", 4, 99), tag("new", 5, 1)]
    freezing = Rule("**", immutable=("v*",))

    found = judged(tags, Keep(last=1, always=("late*",)), freezing, {digest(1): "the service web runs it"})

    assert {verdict.tag: (verdict.kept, verdict.why) for verdict in found} == {
        "run": (True, "the service web runs it"),
        "v1": (True, "v1 is immutable by the rule for **"),
        "latest": (True, "latest fits late*, which is always kept"),
        "other": (False, "the rule for one keeps the newest image; late*"),
        "new": (True, "it is the newest image"),
    }


def test_a_signature_under_a_tag_goes_with_its_image_and_counts_nowhere() -> None:
    tags = [
        tag("old", 1, 9),
        tag("sha256-" + digest(1)[7:] + ".sig", 11, 0),
        tag("new", 2, 1),
        tag("sha256-" + digest(2)[7:], 12, 0),
        tag("sha256-" + digest(3)[7:] + ".sig", 13, 0),
    ]

    assert kept(tags, Keep(last=1)) == [tags[2].name, tags[3].name, tags[4].name]
    whys = {verdict.tag: verdict.why for verdict in judged(tags, Keep(last=1))}
    assert whys[tags[1].name] == "the image that it belongs to goes"
    assert whys[tags[3].name] == whys[tags[4].name] == "the image that it belongs to does not go"


@pytest.mark.parametrize("days", [7, 7.5])
def test_what_is_as_old_as_the_days_say_is_too_old(days: float) -> None:
    tags = [tag("then", 1, days), tag("pulled", 2, 99, pulled=days), tag("just", 3, days - 0.001)]

    assert kept(tags, Keep(pushed_days=days, pulled_days=days)) == ["just"]


TAGS = st.lists(
    st.builds(
        tag,
        st.sampled_from([*VERSIONS, "1.2", "1", "v1.2.9", "main", "dev-1"]),
        st.integers(1, 6),
        st.floats(0, 100),
        st.none() | st.floats(0, 100),
    ),
    unique_by=lambda state: state.name,
    max_size=12,
)
KEEPS = st.builds(
    Keep,
    st.integers(0, 4),
    st.sampled_from([0.0, 10, 50]),
    st.sampled_from([0.0, 10, 50]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([(), ("latest",), ("1.*",)]),
)


@given(TAGS, KEEPS, st.sets(st.integers(1, 6)))
def test_every_tag_has_one_verdict_and_tags_of_one_image_have_the_same(
    tags: list[TagState], keep: Keep, running: set[int]
) -> None:
    needed = {digest(number): "it runs" for number in running}
    found = judged(tags, keep, None, needed)

    assert [verdict.tag for verdict in found] == [state.name for state in tags]
    assert all(verdict.why for verdict in found)
    by_digest: dict[str, set[bool]] = {}
    for verdict in found:
        by_digest.setdefault(verdict.digest, set()).add(verdict.kept)
    assert all(len(verdicts) == 1 for verdicts in by_digest.values())
    assert all(verdict.kept for verdict in found if verdict.digest in needed)
    if keep.last:
        assert sum(verdicts == {True} for verdicts in by_digest.values()) >= min(keep.last, len(by_digest))


@given(TAGS, KEEPS, KEEPS)
def test_who_asks_to_keep_more_never_keeps_less(tags: list[TagState], one: Keep, other: Keep) -> None:
    more = Keep(
        max(one.last, other.last),
        max(one.pushed_days, other.pushed_days),
        max(one.pulled_days, other.pulled_days),
        one.minors,
        one.patches,
        one.always,
    )

    assert set(kept(tags, one)) <= set(kept(tags, more))


@given(TAGS, KEEPS)
def test_what_was_judged_once_is_judged_the_same_again_without_what_went(tags: list[TagState], keep: Keep) -> None:
    stay = [state for state in tags if state.name in kept(tags, keep)]

    assert kept(stay, keep) == [state.name for state in stay]


async def _push(metadata: MemoryMetadata, repository: str, *names: str) -> None:
    for name in names:
        await metadata.put_manifest(repository, NewManifest(digest(abs(hash(name))), OCI, 1, ()), [name], ANN)


async def test_a_run_removes_what_no_rule_keeps_and_only_in_the_repositories_that_are_meant() -> None:
    metadata = MemoryMetadata()
    await metadata.set_rule(Rule("team/*", keep=Keep(last=1)), ANN)
    for repository in ("team/a", "team/b", "other"):
        await _push(metadata, repository, "1", "2")
    retention = Retention(metadata, Pulls(metadata))

    told = [(v.repository, v.tag, v.kept) async for v in retention.run("team/a", dry_run=True)]
    assert sorted(told) == [("team/a", "1", False), ("team/a", "2", True)]
    assert len(await metadata.tags("team/a") or []) == 2

    assert [(v.repository, v.tag) async for v in retention.run("team/a") if not v.kept] == [("team/a", "1")]
    assert [(v.repository, v.tag) async for v in retention.run() if not v.kept] == [("team/b", "1")]
    left = {name: [each.name for each in await metadata.tags(name) or []] for name in ("team/a", "team/b", "other")}
    assert left == {"team/a": ["2"], "team/b": ["2"], "other": ["1", "2"]}
    told_of = await metadata.activities(action=AuditAction.UNTAG)
    assert [(one.repository, one.actor.name, one.detail) for one in told_of] == [
        ("team/b", "retention", "the rule for team/*"),
        ("team/a", "retention", "the rule for team/*"),
    ]


async def test_a_run_removes_all_that_goes_however_much_it_is() -> None:
    metadata = MemoryMetadata()
    await metadata.set_rule(Rule("team/*", keep=Keep(last=1)), ANN)
    await _push(metadata, "team/a", *(str(number) for number in range(205)))

    gone = [verdict.tag async for verdict in Retention(metadata, Pulls(metadata)).run() if not verdict.kept]

    assert len(gone) == 204
    assert len(await metadata.tags("team/a") or []) == 1


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(last=1), ["1.1.0"]),
        (Keep(minors=1), ["2.0.0"]),
        (Keep(patches=1), ["1.0.1", "1.1.0", "2.0.0"]),
    ],
)
async def test_a_run_surveys_the_repository_for_each_rank_alone(keep: Keep, left: list[str]) -> None:
    metadata = MemoryMetadata()
    await metadata.set_rule(Rule("one", keep=keep), ANN)
    await _push(metadata, "one", "1.0.0", "2.0.0", "1.0.1", "1.1.0")

    _ = [verdict async for verdict in Retention(metadata, Pulls(metadata)).run()]

    assert [each.name for each in await metadata.tags("one") or []] == left


async def test_a_preview_counts_all_and_shows_what_goes_first_and_changes_nothing() -> None:
    metadata = MemoryMetadata()
    pulls = Pulls(metadata)
    retention = Retention(metadata, pulls)
    await _push(metadata, "one", "a", "b", "c", "d", "e")
    assert (await retention.preview("one", 3)).judged == 0
    await metadata.set_rule(Rule("one", keep=Keep(last=1, pulled_days=1)), ANN)
    pulls.note("one", digest(abs(hash("a"))))

    found = await retention.preview("one", 4)

    assert (found.judged, found.going) == (5, 3)
    assert sorted(one.tag for one in found.shown[:3]) == ["b", "c", "d"]
    assert [one.kept for one in found.shown] == [False, False, False, True]
    assert len((await retention.preview("one", 2)).shown) == 2
    assert len(await metadata.tags("one") or []) == 5


async def test_a_tag_that_moves_while_a_run_judges_it_stays_and_has_no_verdict() -> None:
    class Moving(MemoryMetadata):
        """A tag is pushed anew right before those that go are removed."""

        async def retire(self, repository: str, states: Sequence[TagState], why: str) -> list[str]:
            await _push(self, repository, "b")
            return await super().retire(repository, states, why)

    metadata = Moving()
    await _push(metadata, "one", "a", "b", "c")
    await metadata.set_rule(Rule("one", keep=Keep(last=1)), ANN)

    found = {verdict.tag: verdict.kept async for verdict in Retention(metadata, Pulls(metadata)).run()}

    assert found == {"a": False, "c": True}
    assert [each.name for each in await metadata.tags("one") or []] == ["b", "c"]


async def test_a_pull_is_known_to_retention_before_it_is_written() -> None:
    metadata = MemoryMetadata()
    await _push(metadata, "one", "used", "unused")
    await metadata.set_rule(Rule("one", keep=Keep(pulled_days=1)), ANN)
    pulls = Pulls(metadata)
    pulls.note("one", digest(abs(hash("used"))))

    found = {verdict.tag: verdict.kept async for verdict in Retention(metadata, pulls).run()}

    assert found == {"used": True, "unused": False}


def signature(number: int) -> str:
    return f"sha256-{number:064x}.sig"


NAMES = st.dictionaries(
    st.sampled_from([*VERSIONS, "1.2", "main", *(signature(number) for number in range(4))]),
    st.integers(0, 5),
    max_size=12,
)


class Counting:
    """Metadata that count how many pages of tags are read."""

    def __init__(self, metadata: MemoryMetadata) -> None:
        self._metadata = metadata
        self.pages = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metadata, name)

    async def tag_states(self, repository: str, **which: Any) -> list[TagState]:
        self.pages += 1
        return await self._metadata.tag_states(repository, **which)


@pytest.mark.parametrize("kept", [True, False])
async def test_the_tags_of_an_image_are_read_once_however_many_pages_they_fill(*, kept: bool) -> None:
    metadata = Counting(MemoryMetadata())
    names = [f"v{number}" for number in range(100)] + (["zz"] if kept else [])
    for number, tags in ((1, ["a"]), (2, names), (3, ["b"])):
        await metadata.put_manifest("one", NewManifest(digest(number), OCI, 10, ()), tags)
    await metadata.set_rule(Rule("one", keep=Keep(last=1, always=("zz",))), ANN)

    retention = Retention(cast("Metadata", metadata), Pulls(cast("Metadata", metadata)), page=2)
    found = {verdict.tag: verdict.kept async for verdict in retention.run(dry_run=True)}

    assert found == {"a": False, "b": True} | dict.fromkeys(names, kept)
    assert metadata.pages < 3 * 52 + 10  # to find the newest, to judge, and once for all of the image's tags


@given(NAMES, KEEPS.filter(lambda keep: keep != Keep()), st.integers(1, 4))
async def test_however_small_the_pages_are_the_verdicts_are_the_same(
    names: dict[str, int], keep: Keep, page: int
) -> None:
    metadata = MemoryMetadata()
    await metadata.set_rule(Rule("one", keep=keep), ANN)
    for name, number in names.items():
        await metadata.put_manifest("one", NewManifest(digest(number), OCI, 1, ()), [name], ANN)

    async def told(size: int, *, dry_run: bool) -> list[Verdict]:
        return [one async for one in Retention(metadata, Pulls(metadata), page=size).run(dry_run=dry_run)]

    whole = await told(1000, dry_run=True)
    assert sorted(one.tag for one in whole) == sorted(names)
    by_name = sorted(whole, key=lambda one: one.tag)
    assert sorted(await told(page, dry_run=True), key=lambda one: one.tag) == by_name
    states = sorted(await metadata.tag_states("one"), key=lambda state: state.name)
    assert [(one.tag, one.kept) for one in judged(states, keep)] == [(one.tag, one.kept) for one in by_name]

    done = await told(page, dry_run=False)
    assert {one.tag for one in done if not one.kept} == {one.tag for one in whole if not one.kept}
    left = {state.name for state in await metadata.tag_states("one")}
    assert left == {one.tag for one in whole if one.kept}


def test_an_image_that_came_after_the_survey_is_not_taken_for_an_old_one() -> None:
    survey = Survey(Keep(last=1, minors=1, patches=1))
    survey.add([tag("1.0.0", 1, 9), tag("1.0.1", 2, 5)])
    judge = Judge("one", Rule("one", keep=Keep(last=1, minors=1, patches=1)), survey.marks(), None, {}, NOW)

    late = [tag("new", 3, 1), tag("2.0.0", 4, 99), tag("1.0.2", 5, 99), tag("0.9.0", 6, 99)]

    assert {state.name: bool(judge.reasons([state])[state.digest]) for state in late} == {
        "new": True,
        "2.0.0": True,
        "1.0.2": True,
        "0.9.0": False,
    }


def test_a_survey_of_many_tags_holds_little_more_than_what_is_kept() -> None:
    survey = Survey(Keep(last=10, minors=10, patches=2))
    for start in range(0, 100_000, 500):
        survey.add(tag(f"{n % 7919}.{n % 13}.{n}", n, days=n % 365) for n in range(start, start + 500))

    marks = survey.marks()
    assert marks.lines is not None
    assert len(marks.lines) == 10
    held = [survey.__dict__[name] for name in ("_newest", "_lines")]
    assert all(len(one) < 3000 for one in held)


def test_a_survey_of_many_patches_holds_few_of_each_line_and_none_if_they_do_not_matter() -> None:
    for patches, held, lowest in ((2, 14, 4998), (0, 0, 0)):
        survey = Survey(Keep(minors=1, patches=patches))
        survey.add(tag(f"1.2.{n}", n) for n in range(5000))

        assert survey.marks().lines == {(1, 2): lowest}
        assert len(survey.__dict__["_lines"][1, 2]) <= held


def test_a_survey_of_many_lines_holds_all_of_them_where_only_patches_count() -> None:
    survey = Survey(Keep(patches=1))
    survey.add(tag(f"1.{line}.{patch}", patch) for line in range(1100) for patch in (0, 1))

    assert survey.marks().lines == {(1, line): 1 for line in range(1100)}
