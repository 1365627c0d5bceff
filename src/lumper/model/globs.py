"""Globs for repositories and tags.

`*` stands for any characters but `/`; a last part `**` of a repository's glob for one or more whole parts: `team/*` is
every repository directly in `team`, `team/**` also those further down, `**` all.

They mean the same as in model/patterns.py, which a test holds. That one knows more (`?`, `[abc]`, `**` anywhere), for
which its time has to be bounded in another way: it takes ten times as long, and rights ask for every repository of a
list.
"""

from __future__ import annotations

import functools
import re

_PART = r"(?:[a-z0-9._-]|\*(?!\*))+"
_REPOSITORIES = re.compile(rf"(?:{_PART}/)*(?:{_PART}|\*\*)")
_TAGS = re.compile(r"(?:[A-Za-z0-9._-]|\*(?!\*))+")


def is_repository_glob(text: str) -> bool:
    """Whether this is a glob for repositories."""
    return len(text) <= 255 and _REPOSITORIES.fullmatch(text) is not None


def is_tag_glob(text: str) -> bool:
    """Whether this is a glob for tags."""
    return len(text) <= 128 and _TAGS.fullmatch(text) is not None


def fits(glob: str, name: str) -> bool:
    """Whether a name fits a glob.

    >>> fits("team/*", "team/app"), fits("team/*", "team/app/web"), fits("team/**", "team/app/web")
    (True, False, True)
    """
    return _compiled(glob).fullmatch(name) is not None


def weight(glob: str) -> tuple[int, str]:
    """What orders globs from the most specific one on: the most characters that stand for themselves, then by name."""
    return -len(glob.replace("*", "")), glob


@functools.lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile("/".join(".+" if part == "**" else _part(part) for part in glob.split("/")))


def _part(text: str) -> str:
    """With atomic groups: a text between two stars is taken where it comes first, and a match never goes back."""
    first, *rest = map(re.escape, text.split("*"))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>[^/]*?{each})" for each in middle) + f"[^/]*{last}"
