"""Names of images and the tags that a git tag moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.model.image import image_tags, is_repository, is_tag, moved_tags, repository_name


@pytest.mark.parametrize(
    ("git_tag", "tags"),
    [
        ("v1.2.3", ("1.2.3", "1.2", "1", "latest")),
        ("1.2.3", ("1.2.3", "1.2", "1", "latest")),
        ("v0.0.1", ("0.0.1", "0.0", "0", "latest")),
        ("v1.2.3-rc.1", ("1.2.3-rc.1",)),
        ("v1.2.3+build.5", ("1.2.3_build.5", "1.2", "1", "latest")),
        ("v1.2", ("v1.2",)),
        ("v01.2.3", ("v01.2.3",)),
        ("nightly", ("nightly",)),
        ("feature/x", ("feature-x",)),
        ("_build-7-1", ("build-7-1",)),
        ("🚀", ()),
        ("...", ()),
        ("x" * 300, ("x" * 128,)),
    ],
)
def test_a_git_tag_names_these_image_tags(git_tag: str, tags: tuple[str, ...]) -> None:
    assert image_tags(git_tag) == tags


@given(st.text())
def test_every_image_tag_is_legal_whatever_the_git_tag(git_tag: str) -> None:
    assert all(is_tag(tag) for tag in image_tags(git_tag))


@given(st.text(min_size=1))
def test_every_repository_name_is_legal_whatever_the_path(path: str) -> None:
    assert is_repository(repository_name(path))


@pytest.mark.parametrize(
    ("git_tag", "before", "moved"),
    [
        ("v1.0.0", [], ("1.0.0", "1.0", "1", "latest")),
        ("v1.0.1", ["v1.0.0"], ("1.0.1", "1.0", "1", "latest")),
        ("v1.0.1", ["v1.0.1"], ("1.0.1", "1.0", "1", "latest")),
        ("v1.2.4", ["v1.3.0"], ("1.2.4", "1.2")),
        ("v1.9.0", ["v2.0.0"], ("1.9.0", "1.9", "1")),
        ("v1.2.3", ["v1.2.9"], ("1.2.3",)),
        ("v1.2.3", ["v2.0.0-rc.1", "nightly"], ("1.2.3", "1.2", "1", "latest")),
        ("v2.0.0-rc.1", ["v1.0.0"], ("2.0.0-rc.1",)),
    ],
)
def test_a_patch_of_an_old_line_takes_nothing_from_a_higher_version(
    git_tag: str, before: list[str], moved: tuple[str, ...]
) -> None:
    assert moved_tags(git_tag, before) == moved
