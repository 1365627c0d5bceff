from __future__ import annotations

import pytest

from lumper.model.images.tag_moves import allowed_tags, is_higher

BEFORE = [("v1.3.0", ["1.3.0", "1.3", "1", "stable"]), ("v2.0.0-rc.1", ["2.0.0-rc.1", "next"])]


@pytest.mark.parametrize(
    ("ref", "wanted", "moved"),
    [
        ("refs/tags/v1.2.4", ["1.2.4", "1.2", "1", "stable"], ("1.2.4", "1.2")),
        ("refs/tags/v1.3.0", ["1.3.0", "1", "stable"], ("1.3.0", "1", "stable")),
        ("refs/tags/v1.4.0", ["1.4.0", "1", "stable", "next"], ("1.4.0", "1", "stable")),
        ("refs/tags/v2.0.0", ["next", "latest"], ("next", "latest")),
        ("refs/heads/main", ["1", "stable"], ("1", "stable")),
        ("refs/tags/other", ["1"], ("1",)),
    ],
)
def test_what_a_higher_version_has_moved_stays_there(ref: str, wanted: list[str], moved: tuple[str, ...]) -> None:
    assert allowed_tags(ref, wanted, BEFORE) == moved


def test_what_a_worker_may_not_ask_for_is_left_out() -> None:
    asked = ["_build-1-1", "a b", "../x", "", "ok", "ok", *(str(number) for number in range(100))]
    assert allowed_tags("refs/tags/x", asked, []) == ("ok", *(str(number) for number in range(49)))


@pytest.mark.parametrize(
    ("one", "other", "higher"),
    [
        ("v1.10.0", "v1.9.0", True),
        ("1.0.0", "v1.0.0-rc.1", True),
        ("v1.0.0", "v1.0.0", False),
        ("app-1.10", "app-1.9", True),
        ("2024-02-01", "2024-01-31", True),
        ("app-2.0", "lib-1.0", False),
        ("nightly", "daily", False),
        ("release-2", "v1.0.0", False),
    ],
)
def test_higher_is_said_only_where_it_can_be(one: str, other: str, higher: bool) -> None:
    assert is_higher(one, other) is higher
