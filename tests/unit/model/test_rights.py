"""Grants over repositories: patterns, and rights that only ever add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.model.people.rights import ALL, Action, Grant, Rights, grant
from parts.suite.pace import takes_less_than

names = st.lists(st.text("ab-", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)
patterns = st.lists(st.text("ab-*", min_size=1, max_size=5), min_size=1, max_size=4).map("/".join)
actions = st.sets(st.sampled_from(list(Action)), min_size=1)
grants = st.lists(st.builds(Grant, names | st.just("**"), actions.map(frozenset)), max_size=4).map(tuple)


def fits(pattern: str, name: str) -> bool:
    """The rule once more, so slowly and simply that it must be right."""
    if not pattern:
        return not name
    if pattern == "**":
        return bool(name)
    if pattern[0] == "*":
        return fits(pattern[1:], name) or (name[:1] not in ("", "/") and fits(pattern, name[1:]))
    return name[:1] == pattern[0] and fits(pattern[1:], name[1:])


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("team/app", ["team/app"], ["team/app2", "team", "team/app/x", "xteam/app"]),
        ("team/*", ["team/app", "team/a-b.c"], ["team", "team/app/x", "teams/app", "x/team/app"]),
        ("team/**", ["team/app", "team/app/x/y"], ["team", "teams/app"]),
        ("**", ["app", "team/app", "a/b/c/d"], []),
        ("*", ["app"], ["team/app"]),
        ("*/app", ["team/app", "a/app"], ["app", "a/b/app"]),
        ("team/web-*-prod", ["team/web-1-prod", "team/web--prod"], ["team/web-prod", "team/web-1-prod-2"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_a_pattern_fits_these_names_and_no_others(pattern: str, inside: list[str], outside: list[str]) -> None:
    granted = grant(pattern, ["pull"])

    assert [name for name in inside + outside if granted.allows(name, "pull")] == inside


@given(patterns, st.booleans(), names)
def test_patterns_follow_their_rule(pattern: str, below: bool, name: str) -> None:
    pattern = pattern.replace("**", "*").replace("**", "*") + ("/**" if below else "")

    assert Grant(pattern, ALL).allows(name, "pull") is fits(pattern, name)


@pytest.mark.parametrize(
    "pattern",
    ["", "/", "a/", "/a", "a//b", "**/a", "a**", "a/**/b", "***", "A", "a b", "a\n", "é", "?", "[a]", "a" * 256],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="not a pattern"):
        grant(pattern, ["pull"])


@pytest.mark.parametrize("asked", [[], ["all"], ["pull", ""], ["PULL"]])
def test_what_is_no_action_is_refused(asked: list[str]) -> None:
    with pytest.raises(ValueError, match=r"Name what is allowed|is not a valid Action"):
        grant("a", asked)


def test_who_may_push_or_delete_may_pull_too_and_an_admin_everything() -> None:
    assert grant("a", ["push"]).actions == {"pull", "push"}
    assert grant("a", ["delete"]).actions == {"pull", "delete"}
    assert grant("a", ["admin"]).actions == set(Action)


@given(grants, grants, names, st.sampled_from(list(Action)))
def test_more_grants_never_allow_less(some: tuple[Grant, ...], more: tuple[Grant, ...], name: str, act: Action) -> None:
    alone, together = Rights(some).allow(name, act), Rights(some + more).allow(name, act)

    assert together is (alone or Rights(more).allow(name, act))
    assert Rights(more + some).allow(name, act) is together


@given(grants, grants, names, st.sampled_from(list(Action)))
def test_limits_never_allow_more(own: tuple[Grant, ...], limits: tuple[Grant, ...], name: str, act: Action) -> None:
    allowed = Rights(own, limits).allow(name, act)

    assert allowed is (Rights(own).allow(name, act) and Rights(limits).allow(name, act))


@given(grants, st.none() | grants, names)
def test_who_may_pull_everywhere_may_pull_here(
    own: tuple[Grant, ...], limits: tuple[Grant, ...] | None, name: str
) -> None:
    rights = Rights(own, limits)

    assert not rights.everywhere or rights.allow(name, Action.PULL)
    assert rights.actions(name) == {action for action in Action if rights.allow(name, action)}


@pytest.mark.parametrize(
    ("limits", "everywhere"),
    [(None, True), ((), False), ((grant("team/**", ["pull"]),), False), ((grant("**", ["pull"]),), True)],
)
def test_who_may_pull_everywhere_may_so_without_limits_or_with_such_that_let_him(
    limits: tuple[Grant, ...] | None, everywhere: bool
) -> None:
    assert Rights((grant("**", ["pull"]),), limits).everywhere is everywhere
    assert not Rights((grant("team/**", ["admin"]),), limits).everywhere


def test_no_pattern_takes_long() -> None:
    granted = Grant("*a" * 100 + "b/" + "*a" * 20, ALL)

    with takes_less_than(10):  # without end, if it went back for each star
        assert not granted.allows("a" * 255, "pull")
        assert not granted.allows("a" * 150 + "/" + "a" * 100, "pull")


def test_what_anyone_may_do_no_limit_takes_away() -> None:
    rights = Rights((grant("team/*", ["push"]),), limits=(), anyone=(grant("public/**", ["pull"]),))

    assert rights.actions("public/app") == {"pull"}
    assert rights.actions("team/app") == set()
    assert not rights.everywhere
    assert Rights(limits=(), anyone=(grant("**", ["pull"]),)).everywhere
