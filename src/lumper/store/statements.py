"""What fits into one statement of every database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_T = TypeVar("_T")
_TOGETHER = 500  # SQLite takes 999 parameters, in its older builds


def parts(items: Sequence[_T]) -> list[Sequence[_T]]:
    """The items in as many at a time as fit into one statement."""
    return [items[start : start + _TOGETHER] for start in range(0, len(items), _TOGETHER)]
