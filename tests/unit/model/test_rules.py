"""Which rule decides, which tags are immutable, and what is wrong with a rule."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.model.globs import fits, is_repository_glob, is_tag_glob
from lumper.model.images.rules import Keep, Rule, Rules, problems, words

NAMES = st.from_regex(r"[a-c]{1,3}(/[a-c]{1,3}){0,3}", fullmatch=True)
GLOBS = st.from_regex(r"([a-c]|\*(?!\*)){1,4}(/([a-c]|\*(?!\*)){1,4}){0,2}", fullmatch=True)


@pytest.mark.parametrize(
    ("glob", "name", "expected"),
    [
        ("team/app", "team/app", True),
        ("team/app", "team/apps", False),
        ("team/*", "team/app", True),
        ("team/*", "team/app/web", False),
        ("team/*", "team", False),
        ("team/**", "team/app/web", True),
        ("team/**", "team", False),
        ("**", "a", True),
        ("**", "a/b/c", True),
        ("*", "a/b", False),
        ("*-dev", "x-dev", True),
        ("*-dev", "x-dev-dev", True),
        ("*.*.*", "1.2.3", True),
        ("*.*.*", "1.2", False),
        ("a.c", "abc", False),
    ],
)
def test_a_glob_fits_whole_names(glob: str, name: str, expected: bool) -> None:
    assert fits(glob, name) is expected


@given(GLOBS, NAMES)
def test_a_star_stands_for_any_characters_of_one_part(glob: str, name: str) -> None:
    plain = re.compile("[^/]*".join(re.escape(text) for text in glob.split("*")))

    assert fits(glob, name) is (plain.fullmatch(name) is not None)


@given(st.integers(1, 60))
def test_a_glob_of_many_stars_is_no_trap(stars: int) -> None:
    assert not fits("*a" * stars + "b", "a" * 200)


def test_what_is_a_glob() -> None:
    assert all(map(is_repository_glob, ["a", "a/*", "**", "a/**", "*/b", "a-*/b_c.d"]))
    assert not any(map(is_repository_glob, ["", "/", "a/", "**/a", "a**", "***", "A", "a/[b]", "a\n", "a" * 256]))
    assert all(map(is_tag_glob, ["v*", "*", "1.2.3", "Release-*"]))
    assert not any(map(is_tag_glob, ["", "**", "a/b", "a?", "a" * 129]))


WIDE = Rule("**", immutable=("v*",), keep=Keep(last=5), quota=100)
TEAM = Rule("team/**", keep=Keep(last=9), quota=10)
APP = Rule("team/app", immutable=("*",), mutable=("latest", "dev-*"))


def test_the_most_specific_rule_that_speaks_of_a_thing_decides_on_it() -> None:
    rules = Rules([WIDE, APP, TEAM])

    assert rules.all == (APP, TEAM, WIDE)
    assert rules.freezing("team/app") == APP
    assert rules.keeping("team/app") == TEAM
    assert rules.freezing("team/other") == WIDE
    assert rules.keeping("other") == WIDE
    assert Rules().freezing("team/app") is None


def test_all_quotas_hold() -> None:
    rules = Rules([WIDE, APP, TEAM])

    assert rules.limiting("team/app") == [TEAM, WIDE]
    assert rules.limiting("other") == [WIDE]


def test_the_order_in_which_rules_were_made_means_nothing() -> None:
    one, two = Rule("a*", immutable=("x",)), Rule("*a", immutable=("y",))

    assert Rules([one, two]).freezing("aa") == Rules([two, one]).freezing("aa")


def test_an_exception_moves_although_a_glob_makes_it_immutable() -> None:
    assert [tag for tag in ("1.0", "latest", "dev-7", "devel") if APP.freezes(tag)] == ["1.0", "devel"]
    assert not TEAM.freezes("1.0")


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        (Rule("A", quota=1), "no glob for repositories"),
        (Rule("a", immutable=("a/b",)), "no glob for tags"),
        (Rule("a", keep=Keep(always=("a b",))), "no glob for tags"),
        (Rule("a", mutable=("x",), quota=1), "no immutable tags"),
        (Rule("a", keep=Keep()), "keep something"),
        (Rule("a", keep=Keep(last=-1)), "counts"),
        (Rule("a", keep=Keep(pushed_days=1e9)), "days"),
        (Rule("a", keep=Keep(pulled_days=float("nan"))), "days"),
        (Rule("a", quota=-1), "quota"),
        (Rule("a"), "says nothing"),
    ],
)
def test_what_is_wrong_with_a_rule_is_told(rule: Rule, what: str) -> None:
    assert any(what in problem for problem in problems(rule))


def test_good_rules_have_no_problems_and_words() -> None:
    assert not any(map(problems, (WIDE, TEAM, APP)))
    assert words(APP) == ["immutable *", "but not latest, dev-*"]
    assert words(WIDE) == ["immutable v*", "keep the last 5 images", "at most 100 B"]
