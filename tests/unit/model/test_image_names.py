"""Names of images and the tags that a git tag moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.model.images.image import (
    image_tags,
    is_digest,
    is_repository,
    is_tag,
    moved_tags,
    repository_name,
)


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
        (f"v1.2.3+{'b' * 130}", ["v1.0.0"], ()),  # longer than a tag may be
    ],
)
def test_a_patch_of_an_old_line_takes_nothing_from_a_higher_version(
    git_tag: str, before: list[str], moved: tuple[str, ...]
) -> None:
    assert moved_tags(git_tag, before) == moved


def spelled_out(name: str) -> bool:
    """The grammar of repository names without a regular expression. Source: OCI distribution-spec 1.1."""
    for part in name.split("/"):
        runs = "".join(c if c in "._-" else " " for c in part).split(" ")
        if part[:1] in ("", ".", "_", "-") or part[-1:] in (".", "_", "-") or not part.isascii():
            return False
        if not all(c.islower() or c.isdigit() or c in "._-" for c in part):
            return False
        if not all(run in ("", ".", "_", "__") or set(run) == {"-"} for run in runs):
            return False
    return len(name) <= 255


@given(st.text("ab0._-/A é٣\n", max_size=12) | st.from_regex(r"[a-z0-9._/-]{250,260}", fullmatch=True))
def test_a_repository_name_is_legal_if_the_specification_says_so(name: str) -> None:
    assert is_repository(name) == spelled_out(name)


@given(st.text("abZ019._-/ é\n", max_size=10) | st.from_regex(r"[a-zA-Z0-9._-]{126,131}", fullmatch=True))
def test_a_tag_is_legal_if_the_specification_says_so(name: str) -> None:
    legal = name.isascii() and all(c.isalnum() or c in "._-" for c in name) and name[:1] not in ("", ".", "-")
    assert is_tag(name) == (legal and len(name) <= 128)


@given(
    st.sampled_from(["sha256", "sha512", "md5", "SHA256", "sha256 "]),
    st.text("0aAfgF:\n", max_size=4),
    st.integers(0, 130),
)
def test_a_digest_is_legal_if_its_hex_has_the_length_of_its_algorithm(algorithm: str, odd: str, length: int) -> None:
    size = {"sha256": 64, "sha512": 128}.get(algorithm)
    assert not is_digest(f"{algorithm}:{odd}")
    for digits in ("0" * length, "0" * 64, "f" * 128, "0" * 63 + "A", "0" * 64 + "\n"):
        assert is_digest(f"{algorithm}:{digits}") == (len(digits) == size and set(digits) <= set("0123456789abcdef"))
