"""Rules for repositories: which tags stay as they are, which images are kept, and how much space there is.

Of the rules whose glob fits a repository, the most specific one that says something of immutable tags decides on these,
and likewise on what is kept. Quotas all hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from lumper.config.sizes import shown
from lumper.model.globs import fits, is_repository_glob, is_tag_glob, weight

_MOST_DAYS = 36_600
_MOST_COUNT = 1_000_000
_MOST_BYTES = 1 << 60


@dataclass(frozen=True)
class Keep:
    """What retention keeps: an image stays if one of these says so. 0 and () say nothing.

    `last` counts images from the newest on; the days count from a push or pull; `minors` is how many lines (1.4, 1.3)
    from the highest on, and `patches` how many versions of each line. `always` are globs for tags.
    """

    last: int = 0
    pushed_days: float = 0
    pulled_days: float = 0
    minors: int = 0
    patches: int = 0
    always: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """What holds for the repositories that fit the glob.

    Tags that fit one of `immutable` and none of `mutable` neither move nor go. `quota` in bytes; 0: no limit.
    """

    repositories: str
    immutable: tuple[str, ...] = ()
    mutable: tuple[str, ...] = ()
    keep: Keep | None = None
    quota: int = 0

    def freezes(self, tag: str) -> bool:
        """Whether the tag, once set, stays as it is."""
        return _any(self.immutable, tag) and not _any(self.mutable, tag)


class Rules:
    """All rules, for one question after the other."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.all = tuple(sorted(rules, key=lambda rule: weight(rule.repositories)))

    @cached_property
    def quotas(self) -> tuple[Rule, ...]:
        """Those that limit the space."""
        return tuple(rule for rule in self.all if rule.quota)

    def freezing(self, repository: str) -> Rule | None:
        """The rule that decides which tags of the repository are immutable."""
        return next((rule for rule in self.all if rule.immutable and fits(rule.repositories, repository)), None)

    def keeping(self, repository: str) -> Rule | None:
        """The rule that decides which images of the repository are kept; None: all are."""
        return next((rule for rule in self.all if rule.keep and fits(rule.repositories, repository)), None)

    def limiting(self, repository: str) -> list[Rule]:
        """The rules whose space the repository shares."""
        return [rule for rule in self.quotas if fits(rule.repositories, repository)]


def problems(rule: Rule) -> list[str]:
    """What is wrong with the rule, for a person."""
    keep = rule.keep or Keep(last=1)
    wrong = []
    if not is_repository_glob(rule.repositories):
        wrong.append(
            f"{rule.repositories!r} is no glob for repositories: write a name such as team/app, in which * stands for "
            "any characters but /, and ** at the end for everything below"
        )
    tags = (*rule.immutable, *rule.mutable, *keep.always)
    wrong += [
        f"{glob!r} is no glob for tags: write letters, digits, . _ - and *" for glob in tags if not is_tag_glob(glob)
    ]
    if rule.mutable and not rule.immutable:
        wrong.append("there are exceptions from immutable tags, and no immutable tags")
    if keep == Keep():
        wrong.append("retention has to keep something: give it at least one limit")
    if not all(0 <= days <= _MOST_DAYS for days in (keep.pushed_days, keep.pulled_days)):
        wrong.append(f"days are between 0 and {_MOST_DAYS}")
    if not all(0 <= count <= _MOST_COUNT for count in (keep.last, keep.minors, keep.patches)):
        wrong.append(f"counts are between 0 and {_MOST_COUNT}")
    if not 0 <= rule.quota <= _MOST_BYTES:
        wrong.append(f"a quota has at most {_MOST_BYTES} bytes")
    if not (rule.immutable or rule.keep or rule.quota):
        wrong.append("the rule says nothing: give it immutable tags, something to keep, or a quota")
    return wrong


def words(rule: Rule) -> list[str]:
    """What the rule says, in words."""
    said = []
    if rule.immutable:
        said.append("immutable " + ", ".join(rule.immutable))
    if rule.mutable:
        said.append("but not " + ", ".join(rule.mutable))
    if keep := rule.keep:
        said += [f"keep {text}" for text in keep_words(keep)]
    if rule.quota:
        said.append(f"at most {shown(rule.quota)}")
    return said


def keep_words(keep: Keep) -> list[str]:
    """What retention keeps, in words."""
    said = {
        "the newest image" if keep.last == 1 else f"the last {keep.last} images": keep.last,
        f"what was pushed within {days_words(keep.pushed_days)}": keep.pushed_days,
        f"what was pulled within {days_words(keep.pulled_days)}": keep.pulled_days,
        f"the {_highest(keep.minors)} minor line{_s(keep.minors)}": keep.minors,
        f"the {_highest(keep.patches)} version{_s(keep.patches)} of each line": keep.patches,
        ", ".join(keep.always): keep.always,
    }
    return [text for text, given in said.items() if given]


def days_words(days: float) -> str:
    """A span of days, in words."""
    return f"{days:g} day{_s(days)}"


def _highest(count: int) -> str:
    return "highest" if count == 1 else f"{count} highest"


def _s(count: float) -> str:
    return "" if count == 1 else "s"


def _any(globs: tuple[str, ...], tag: str) -> bool:
    return any(fits(glob, tag) for glob in globs)
