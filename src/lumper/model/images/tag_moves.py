"""Which of the tags that a recipe wants a build may have: none that a higher version has had. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lumper.model.images.image import PRIVATE_PREFIX, is_tag
from lumper.model.patterns import version_of
from lumper.model.refs import TAG_PREFIX

_MOST = 50  # tags of one build
_NUMBERS = re.compile(r"(\d{1,18})", re.ASCII)


def allowed_tags(ref: str, wanted: Sequence[str], before: Iterable[tuple[str, Sequence[str]]]) -> tuple[str, ...]:
    """The image tags that a succeeded build of `ref` moves.

    `before` are the git tags that were built of the same repository, and the image tags that each moved. What a higher
    version moved stays there: `1` does not go back from v1.3.0 to v1.2.4, whatever template names it.

    >>> allowed_tags("refs/tags/v1.2.4", ["1.2.4", "1.2", "1"], [("v1.3.0", ["1.3.0", "1.3", "1"])])
    ('1.2.4', '1.2')
    """
    legal = [name for name in dict.fromkeys(wanted) if is_tag(name) and not name.startswith(PRIVATE_PREFIX)][:_MOST]
    if not ref.startswith(TAG_PREFIX):
        return tuple(legal)
    taken = taken_tags(ref, before)
    return tuple(name for name in legal if name not in taken)


def taken_tags(ref: str, before: Iterable[tuple[str, Sequence[str]]]) -> frozenset[str]:
    """The image tags that git tags of higher versions than `ref` have moved."""
    own = ref.removeprefix(TAG_PREFIX)
    if not ref.startswith(TAG_PREFIX):
        return frozenset()
    return frozenset(name for git_tag, names in before if is_higher(git_tag, own) for name in names)


def is_higher(one: str, other: str) -> bool:
    """Whether a git tag is of a higher version than another one, where that can be said.

    Semantic versions are compared as such; other tags only if they differ in nothing but their numbers.

    >>> is_higher("v2.0.0", "v2.0.0-rc.1"), is_higher("app-1.10", "app-1.9"), is_higher("app-2", "lib-1")
    (True, True, False)
    """
    first, second = version_of(one), version_of(other)
    if first and second:
        return first > second
    mine, its = _NUMBERS.split(one), _NUMBERS.split(other)
    return mine[::2] == its[::2] and [int(number) for number in mine[1::2]] > [int(number) for number in its[1::2]]
