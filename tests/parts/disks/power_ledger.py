"""What a registry has acknowledged and when, and what may be found after its power failed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

GONE = ""


class Kind(StrEnum):
    """Of a thing that can be asked for."""

    BLOB = "blobs"
    MANIFEST = "manifests"
    TAG = "tags"


@dataclass(frozen=True)
class Thing:
    """Something of a repository, by its digest or tag."""

    kind: Kind
    repository: str
    name: str


@dataclass
class _Change:
    value: str
    begun: int
    told: int | None = None


@dataclass
class Ledger:
    """Changes of things, each of which is changed by one client at a time; moments are numbers that grow.

    A thing's value is the digest that it leads to, or `GONE`.
    """

    _changes: dict[Thing, list[_Change]] = field(default_factory=lambda: defaultdict(list))

    def begin(self, thing: Thing, value: str, moment: int) -> None:
        """It is asked for at this moment: from now on the thing may have the value."""
        self._changes[thing].append(_Change(value, moment))

    def told(self, thing: Thing, moment: int, *, refused: bool = False) -> None:
        """The change that was begun was acknowledged before this moment, or was `refused` and changed nothing."""
        change = self._changes[thing][-1]
        change.told = moment
        if refused:
            change.value = self._changes[thing][-2].value if self._changes[thing][:-1] else GONE

    def value(self, thing: Thing) -> str:
        """What it is after the last change."""
        return self._changes[thing][-1].value if thing in self._changes else GONE

    def things(self, moment: int) -> list[Thing]:
        """All that somebody had begun to change at this moment."""
        return [thing for thing, changes in self._changes.items() if changes[0].begun < moment]

    def right(self, thing: Thing, moment: int) -> set[str]:
        """What the thing may be after a power failure at this moment."""
        right = {GONE}
        for change in self._changes.get(thing, ()):
            if change.told is not None and change.told <= moment:
                right = {change.value}
            elif change.begun < moment:
                right.add(change.value)
        return right

    def acknowledgements(self) -> list[int]:
        """The moments at which something was acknowledged, in order."""
        return sorted({one.told for some in self._changes.values() for one in some if one.told is not None})
