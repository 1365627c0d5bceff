"""Git's refs: the names under which a repository keeps its tags and branches. Pure."""

from __future__ import annotations

TAG_PREFIX = "refs/tags/"
BRANCH_PREFIX = "refs/heads/"


def tag_in(ref: str) -> str:
    """The tag's name, or "" for any other ref."""
    return ref.removeprefix(TAG_PREFIX) if ref.startswith(TAG_PREFIX) else ""


def branch_in(ref: str) -> str:
    """The branch's name, or "" for any other ref."""
    return ref.removeprefix(BRANCH_PREFIX) if ref.startswith(BRANCH_PREFIX) else ""


def short_name(ref: str) -> str:
    """A ref as people say it: the name of its tag or branch, and any other whole.

    >>> short_name("refs/tags/v1.2.3")
    'v1.2.3'
    """
    return tag_in(ref) or branch_in(ref) or ref
