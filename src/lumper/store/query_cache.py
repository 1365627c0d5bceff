"""A bounded memory of what the database has answered."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

_REMEMBERED = 16_384  # answers

_V = TypeVar("_V")


class QueryCache(Generic[_V]):
    """The answers given last, by repository and what was asked of it; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], _V] = OrderedDict()
        self._asked: dict[str, set[str]] = {}

    def get(self, repository: str, asked: str) -> _V | None:
        """The answer; None: ask the database."""
        return self._answers.get((repository, asked))

    def keep(self, repository: str, asked: str, answer: _V) -> None:
        """Remember an answer that holds until it is forgotten."""
        self._answers[repository, asked] = answer
        self._asked.setdefault(repository, set()).add(asked)
        if len(self._answers) > _REMEMBERED:
            self.forget_one(*next(iter(self._answers)))

    def forget_one(self, repository: str, asked: str) -> None:
        """This answer may not hold any more."""
        if self._answers.pop((repository, asked), None) is not None:
            self._asked[repository].discard(asked)
            if not self._asked[repository]:
                del self._asked[repository]

    def forget(self, repository: str | None) -> None:
        """What is known of a repository, or of all (None), may not hold any more."""
        if repository is None:
            self._answers.clear()
            self._asked.clear()
            return
        for asked in self._asked.pop(repository, ()):
            self._answers.pop((repository, asked), None)
