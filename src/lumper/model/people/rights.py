"""Rights over repositories: grants, which only ever add up. Nothing denies, so their order has no meaning.

Patterns are globs for repositories, as model/globs.py has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from lumper.model.globs import fits, is_repository_glob

EVERY = "**"
_REMEMBERED = 256  # answers


class Action(StrEnum):
    """What may be done in a repository. `admin` is all of it, and the repository's own settings."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    ADMIN = "admin"


ALL = frozenset(Action)


@dataclass(frozen=True)
class Grant:
    """Leave to do these things in every repository whose name fits the pattern."""

    repository: str
    actions: frozenset[Action]

    def allows(self, repository: str, action: str) -> bool:
        """Whether this grant is enough."""
        return action in self.actions and (self.repository == EVERY or fits(self.repository, repository))


@dataclass(frozen=True)
class Rights:
    """What somebody may do: what one of the grants allows and, with `limits`, one of those too.

    What `anyone` may do, without an account, they may in any case: to sign in takes nothing away.
    """

    grants: tuple[Grant, ...] = ()
    limits: tuple[Grant, ...] | None = None
    anyone: tuple[Grant, ...] = ()

    def allow(self, repository: str, action: str) -> bool:
        """Whether this may be done in the repository. The answer is remembered: every request to the registry asks."""
        answer = self._answers.get((repository, action))
        if answer is None:
            answer = _any(self.grants, repository, action)
            if self.limits is not None:
                answer = answer and _any(self.limits, repository, action)
            answer = answer or _any(self.anyone, repository, action)
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            self._answers[repository, action] = answer
        return answer

    @cached_property
    def _answers(self) -> dict[tuple[str, str], bool]:
        return {}

    def actions(self, repository: str) -> frozenset[Action]:
        """Everything that may be done in the repository."""
        return frozenset(action for action in Action if self.allow(repository, action))

    @property
    def everywhere(self) -> bool:
        """Whether every repository may be pulled, so that nothing needs to be left out of a list."""
        granted = _pull_everywhere(self.grants) and (self.limits is None or _pull_everywhere(self.limits))
        return granted or _pull_everywhere(self.anyone)


NOTHING = Rights()


def grant(repository: str, actions: Iterable[str]) -> Grant:
    """A grant as people write it; who may push or delete may pull too. Raises ValueError."""
    named = frozenset(Action(action) for action in actions)
    if not named:
        raise ValueError(f"Name what is allowed: {', '.join(Action)}.")
    if not is_repository_glob(repository):
        raise ValueError(
            f"{repository!r} is not a pattern for repositories: it is a name such as team/app, in which * stands for "
            "any characters but /, and ** at the end for everything below."
        )
    return Grant(repository, ALL if Action.ADMIN in named else named | {Action.PULL})


def _pull_everywhere(grants: tuple[Grant, ...]) -> bool:
    return any(grant.repository == EVERY and Action.PULL in grant.actions for grant in grants)


def _any(grants: tuple[Grant, ...], repository: str, action: str) -> bool:
    return any(one.allows(repository, action) for one in grants)
