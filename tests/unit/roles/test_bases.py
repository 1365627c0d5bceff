"""Where images are made from each other, a change of one of them goes round once."""

from __future__ import annotations

import pytest

from lumper.roles.bases import comes_from


@pytest.mark.parametrize(
    ("again", "circle"),
    [
        ({}, False),  # c was pushed: what is made from it is built again
        ({"c": ["b"]}, False),
        ({"c": ["b"], "b": ["a"]}, True),
        ({"c": ["", "d"], "d": ["c", "b"], "b": ["a", "d"]}, True),
        ({"c": ["d"], "d": ["c"]}, False),  # a circle beside it
    ],
)
def test_a_base_counts_unless_it_was_built_again_because_of_the_image(
    again: dict[str, list[str]], circle: bool
) -> None:
    assert comes_from("c", "a", again) is circle


def test_the_image_itself_is_no_base_and_one_from_elsewhere_is() -> None:
    assert comes_from("a", "a", {})
    assert not comes_from("", "a", {"b": ["", "a"]})
