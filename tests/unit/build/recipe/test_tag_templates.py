"""Image tags from templates: what the README of docker/metadata-action documents, and what must not get through."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.build.recipe.tag_checks import template_problem, version_problem
from lumper.build.recipe.tag_templates import Flavor, Moment, Template, wanted_tags
from lumper.model.images.image import is_tag
from parts.suite.pace import takes_less_than

COMMIT = "860c1904a1ce19322e91ac35af1ab07466440c37"
NOW = datetime(2024, 2, 29, 23, 30, 5, tzinfo=UTC)
COMMITTED = datetime(2020, 1, 10, 0, 30, tzinfo=UTC)


def tags(ref: str, *templates: str | Template, flavor: Flavor | None = None, scheduled: bool = False) -> list[str]:
    """The image tags of a ref, in their order."""
    made = [Template(each) if isinstance(each, str) else each for each in templates]
    return list(wanted_tags(made, flavor or Flavor(), Moment(f"refs/{ref}", COMMIT, NOW, scheduled, COMMITTED)))


@pytest.mark.parametrize(
    ("ref", "template", "expected"),
    [
        ("tags/v1.2.3", "semver:{{raw}}", ["v1.2.3", "latest"]),
        ("tags/v1.2.3", "semver:{{version}}", ["1.2.3", "latest"]),
        ("tags/v1.2.3", "semver:{{major}}.{{minor}}", ["1.2", "latest"]),
        ("tags/v1.2.3", "semver:v{{major}}", ["v1", "latest"]),
        ("tags/v1.2.3", "semver:{{ major }}", ["1", "latest"]),
        ("tags/v2.0.8-beta.67", "semver:{{raw}}", ["v2.0.8-beta.67"]),
        ("tags/v2.0.8-beta.67", "semver:{{version}}", ["2.0.8-beta.67"]),
        ("tags/v2.0.8-beta.67", "semver:{{major}}.{{minor}}", ["2.0.8-beta.67"]),
        ("tags/v1.2.3+linux", "semver:{{version}}", ["1.2.3", "latest"]),
        ("tags/v1.2", "semver:{{version}}", []),
        ("heads/v1.2.3", "semver:{{version}}", []),
        ("tags/1.2.3", "pep440:{{raw}}", ["1.2.3", "latest"]),
        ("tags/1.2.3", "pep440:{{version}}", ["1.2.3", "latest"]),
        ("tags/v1.2.3", "pep440:{{major}}.{{minor}}", ["1.2", "latest"]),
        ("tags/1.2.3rc2", "pep440:{{raw}}", ["1.2.3rc2"]),
        ("tags/1.2.3-RC2", "pep440:{{version}}", ["1.2.3rc2"]),
        ("tags/1.2.3rc2", "pep440:{{major}}.{{minor}}", ["1.2.3rc2"]),
        ("tags/1.2.3.post1", "pep440:{{major}}.{{minor}}", ["1.2.3.post1"]),
        ("tags/1.2.3.dev0", "pep440:{{major}}", ["1.2.3.dev0"]),
        ("tags/nightly", "pep440:{{version}}", []),
        ("tags/v1.2.3", r"match:\d\.\d\.\d", ["1.2.3", "latest"]),
        ("tags/v1.2.3", r"match:v(.*):1", ["1.2.3", "latest"]),
        ("tags/v2.0.8-beta.67", r"match:v(\d\.\d)\.\d:1", ["2.0", "latest"]),
        ("tags/v2.0.8-beta.67", r"match:v(\d\.\d)\.\d", ["v2.0.8", "latest"]),
        ("tags/20200110-RC2", r"match:\d+", ["20200110", "latest"]),
        ("tags/p1/v1.2.3", r"match:p1/v(\d\.\d\.\d):1", ["1.2.3", "latest"]),
        ("tags/Release-7", r"match:/release-(\d+)/i:1", ["7", "latest"]),
        ("tags/Release-7", r"match:/release-(\d+)/:1", []),
        ("tags/other", r"match:\d+", []),
        ("heads/main", r"match:.*", []),
        ("tags/v1.2.3", "ref:tag", ["v1.2.3", "latest"]),
        ("tags/a/b", "ref:tag", ["a-b", "latest"]),
        ("heads/my/branch", "ref:branch", ["my-branch"]),
        ("heads/main", "ref:tag", []),
        ("tags/v1", "ref:branch", []),
        ("heads/main", "sha:short", ["sha-860c190"]),
        ("heads/main", "sha:long", [f"sha-{COMMIT}"]),
        ("heads/main", "date:%Y%m%d-%H%M", ["20240229-2330"]),
        ("heads/main", "schedule:nightly", []),
        ("heads/main", "raw:foo-{{branch}}-{{sha}}", ["foo-main-860c190"]),
        ("heads/main", "raw:latest", ["latest"]),
        ("heads/main", "edge:main", ["edge"]),
        ("heads/other", "edge:main", []),
        ("tags/main", "edge:main", []),
        ("heads/main", "sha", ["sha-860c190"]),
        ("heads/main", "sha:12", ["sha-860c1904a1ce"]),
        ("heads/main", "stable", ["stable"]),
        ("tags/v1.2.3", "raw:x+y", ["x-y"]),
        ("tags/a/+b", "ref:tag", ["a-b", "latest"]),
        ("tags/v1.2.3", "raw:x{{branch}}", ["x"]),
        ("heads/main", "raw:{{date 'YYYYMMDD'}}", ["20240229"]),
        ("heads/main", "raw:{{commit_date 'YYYYMMDD'}}", ["20200110"]),
        ("heads/main", "raw:{{commit_date 'YYYYMMDD-HHmmss' tz='Asia/Tokyo'}}", ["20200110-093000"]),
        ("heads/main", 'date:{{date "YYYY.MM.DD" tz="Asia/Tokyo"}}', ["2024.03.01"]),
        ("heads/main", "raw:{{date '%Y%m%d' tz='Asia/Tokyo'}}", ["20240301"]),
        ("heads/main", "raw:{{date 'dddd, MMMM Do YYYY, h:mm:ss a'}}", ["Thursday-February-29th-2024-11-30-05-pm"]),
    ],
)
def test_a_template_gives_what_metadata_action_documents(ref: str, template: str, expected: list[str]) -> None:
    assert template_problem(template) == ""
    assert tags(ref, template) == expected


def test_a_schedule_has_tags_of_its_own() -> None:
    assert tags("heads/main", "schedule:nightly-%Y%m%d", "ref:branch", scheduled=True) == ["nightly-20240229", "main"]
    assert tags("heads/main", "schedule", scheduled=True) == ["nightly"]
    assert tags("heads/main", "schedule:{{date 'YYYYMMDD-HHmmss' tz='Asia/Tokyo'}}", scheduled=True) == [
        "20240301-083005"
    ]


@pytest.mark.parametrize("kind", ["semver", "pep440"])
def test_a_version_may_be_a_part_of_the_git_tag_or_another_text(kind: str) -> None:
    template = f"{kind}:{{{{version}}}}"
    part = Template(template, match=r"web/v(\d+\.\d+\.\d+)$")
    assert tags("tags/web/v1.2.3", part) == ["1.2.3", "latest"]
    assert tags("tags/api/v1.2.3", part) == []
    assert tags("tags/v1.2.3", part) == []
    assert tags("tags/web/v1.2.3", Template(template, match=r"\d+\.\d+\.\d+$")) == ["1.2.3", "latest"]
    assert tags("heads/main", Template(template, value="v1.0.0")) == ["1.0.0", "latest"]
    assert tags("heads/main", Template(template, value="p1/v1.0.0", match=r"v(\d.\d.\d)$")) == ["1.0.0", "latest"]
    assert tags("heads/release/1.4.0", Template(template, value="{{branch}}", match="release/(.*)")) == [
        "1.4.0",
        "latest",
    ]


def test_a_pattern_may_look_at_another_text() -> None:
    assert tags("heads/release/1.4", Template(r"match:release/(.*):1", value="{{branch}}")) == ["1.4", "latest"]


def test_a_priority_changes_the_order_and_what_decides_on_latest() -> None:
    first = Template("sha:short", priority=950)
    assert tags("tags/v1.2.3", "semver:{{version}}", first) == ["sha-860c190", "1.2.3"]
    last = Template("ref:tag", priority=50)
    assert tags("tags/v1.2.3-rc.1", last, "semver:{{version}}", "sha:short") == [
        "1.2.3-rc.1",
        "sha-860c190",
        "v1.2.3-rc.1",
    ]


def test_the_most_important_template_decides_on_latest_wherever_it_stands() -> None:
    templates = ("ref:tag", "semver:{{version}}", "semver:{{major}}")
    assert tags("tags/v1.2.3", *templates) == ["1.2.3", "1", "v1.2.3", "latest"]
    assert tags("tags/v1.2.3-rc.1", *templates) == ["1.2.3-rc.1", "v1.2.3-rc.1"]
    assert tags("tags/other", *templates) == ["other", "latest"]


@pytest.mark.parametrize(
    ("flavor", "expected"),
    [
        (Flavor(latest=False), ["1.2.3"]),
        (Flavor(latest=True), ["1.2.3", "latest"]),
        (Flavor(prefix="a-", suffix="-b"), ["a-1.2.3-b", "latest"]),
        (Flavor(prefix="a-", suffix="-b", on_latest=True), ["a-1.2.3-b", "a-latest-b"]),
        (Flavor(prefix="a-", suffix="-b", on_latest="prefix"), ["a-1.2.3-b", "a-latest"]),
        (Flavor(prefix="a-", suffix="-b", on_latest="suffix"), ["a-1.2.3-b", "latest-b"]),
        (Flavor(suffix="-{{sha}}"), ["1.2.3-860c190", "latest"]),
        (Flavor(suffix="-{{commit_date 'YYYYMMDD'}}"), ["1.2.3-20200110", "latest"]),
    ],
)
def test_a_flavor_holds_for_all(flavor: Flavor, expected: list[str]) -> None:
    assert tags("tags/v1.2.3", "semver:{{version}}", flavor=flavor) == expected


def test_a_template_has_its_own_prefix_in_place_of_the_flavors() -> None:
    flavor = Flavor(prefix="a-", suffix="-b", latest=False)
    own = (Template("raw:x", prefix="", suffix="-c"), Template("sha:short", prefix="git-"), "sha:short")
    assert tags("heads/main", *own, flavor=flavor) == ["x-c", "git-860c190-b", "sha-860c190-b"]


def test_a_template_for_some_refs_gives_nothing_for_others() -> None:
    edge, stable = Template("raw:edge", branches=("main",)), Template("raw:stable", tags=("v*", "!*-*"))
    assert tags("heads/main", edge, stable) == ["edge"]
    assert tags("heads/other", edge, stable) == []
    assert tags("tags/v1.0.0", edge, stable) == ["stable"]
    assert tags("tags/v1.0.0-rc.1", edge, stable) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sevmer:{{version}}", "write a kind"),
        ("edge", "name of a branch"),
        ("semver", "names no {{version}}"),
        ("{{version}}", "there is no {{version}}"),
        ("sha:3", "how many digits"),
        ("sha:65", "how many digits"),
        ("raw:{{date 'YYYY' tz='Asia/Tokio'}}", "no time zone 'Asia/Tokio'"),
        ("raw:{{date 'YYYY' tz='../UTC'}}", "there is no"),
        ("raw:{{date ''}}", "names no format"),
        ("raw:{{date '%A'}}", "strftime"),
        ("raw:{{date YYYY}}", "there is no {{date YYYY}}"),
        ("date:%Y-{{sha}", "do not fit together"),
        ("semver:{{versoin}}", "there is no {{versoin}}"),
        ("semver:1.2", "names no {{version}}"),
        ("semver:{{major}.{{minor}}", "do not fit together"),
        ("ref:pr", "ref:tag or ref:branch"),
        ("sha:", "sha:short, sha:long"),
        ("date:%A", "strftime"),
        ("date:%", "strftime"),
        ("raw:", "no text"),
        ("match:", "no pattern"),
        ("match:v(", "not a regular expression"),
        ("match:v(.*):2", "no group 2"),
        ("match:(a+)+b", "no group repeats"),
        (r"match:(a)\1", "no group repeats"),
        ("match:(?=a)a", "no group repeats"),
        (r"match:\w*\w*\w*\w*\w*!", "at most 4"),
        ("match:a?a?a?a?aaaa", "at most 3"),
    ],
)
def test_a_template_that_cannot_be_meant_is_refused(text: str, words: str) -> None:
    assert words in template_problem(text)


@pytest.mark.parametrize(
    ("template", "value", "match", "words"),
    [
        ("raw:x", "v1", "", "`value` is for semver"),
        ("match:v(.*)", "", "v(.*)", "`match` is for semver"),
        ("semver:{{version}}", "{{nothing}}", "", "there is no {{nothing}}"),
        ("semver:{{version}}", "", "(a+)+", "no group repeats"),
    ],
)
def test_what_stands_beside_a_template_is_looked_at_too(template: str, value: str, match: str, words: str) -> None:
    assert words in version_problem(template, value, match)


@pytest.mark.parametrize("pattern", [r"\w*\w*\w*\w*!", "(?:a|a)(?:a|a)(?:a|a).*.*.*.*b", "a?a?a?a*a*a*a*b"])
def test_no_pattern_takes_long_on_any_tag(pattern: str) -> None:
    assert template_problem(f"match:{pattern}") == ""
    with takes_less_than(5):
        assert tags("tags/" + "a" * 64, f"match:{pattern}") == []
        assert tags("tags/" + "a" * 100_000, f"match:{pattern}") == []


@given(st.text(min_size=1, max_size=40), st.sampled_from(["tags/", "heads/"]))
def test_every_tag_is_legal_and_none_is_private_whatever_the_ref(name: str, kind: str) -> None:
    templates = ("ref:tag", "ref:branch", "match:.*", "raw:{{tag}}", "semver:{{raw}}", "pep440:{{raw}}")
    found = tags(kind + name, *templates, Template("semver:{{raw}}", value="{{branch}}", match=".*v(.*)"))
    assert all(is_tag(each) and not re.match("_build-", each) for each in found)


def test_no_template_names_a_private_tag() -> None:
    assert tags("tags/_build-7-1", "ref:tag", "raw:_build-8-1", flavor=Flavor(latest=False)) == []
