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
        return self._answers.get((repository, asked))

    def keep(self, repository: str, asked: str, answer: _V) -> None:
        self._answers[repository, asked] = answer
        self._asked.setdefault(repository, set()).add(asked)
        if len(self._answers) > _REMEMBERED:
            (oldest, what), _ = self._answers.popitem(last=False)
            self._asked[oldest].discard(what)

    def forget_one(self, repository: str, asked: str) -> None:
        if self._answers.pop((repository, asked), None) is not None:
            self._asked[repository].discard(asked)

    def forget(self, repository: str | None) -> None:
        if repository is None:
            self._answers.clear()
            self._asked.clear()
            return
        for asked in self._asked.pop(repository, ()):
            self._answers.pop((repository, asked), None)
