"""Under which names an engine keeps contexts whose files it gets one by one, and which times these files are told with.

Of what it has under a name, an engine takes those files for unchanged whose size, time and mode are the same. All files
of a commit have its time. So commits of different times can share a name: each time all files are sent, but into the
folder that is there. To make a new one takes an engine some 20 ms, and space on its disk. Commits of one second cannot.

What the Dockerfile copies is often the same in many commits. Then it is told with the time of the first of them, and
nothing is sent. The layers of such a build come from the cache, with that very time, unless the engine has lost them.
Within a name a time still stands for the content of one commit: so nothing old is taken for something new.
Source: moby/buildkit, source/local; tonistiigi/fsutil, diff.go.
"""

from __future__ import annotations

import hashlib
import secrets
import stat
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lumper.build.port import ContextEntry, Files

_MOST_PLACES = 10_000
_MOST_TIMES = 1000
_MOST_SELECTIONS = 50


@dataclass
class Kept:
    """What is kept under one name: by the times of commits, which context it was; by marks of what was copied, the
    time of the first commit that had that."""

    name: str = field(default_factory=lambda: secrets.token_hex(20))
    contexts: dict[int, str] = field(default_factory=dict)
    selections: OrderedDict[bytes, int] = field(default_factory=OrderedDict)

    def aged(self, entries: Sequence[ContextEntry]) -> Sequence[ContextEntry]:
        """These entries, all of one time, with the time of the first commit that had all of them, and them alone."""
        if not entries or any(stat.S_ISREG(entry.mode) and not entry.content for entry in entries):
            return entries
        mark = _mark(entries)
        time = self.selections.setdefault(mark, entries[0].time)
        self.selections.move_to_end(mark)
        if len(self.selections) > _MOST_SELECTIONS:
            self.selections.popitem(last=False)
        return [replace(entry, time=time) for entry in entries] if time != entries[0].time else entries


class SharedKeys:
    """The names that this process gives to contexts; no other process gives the same."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, Kept] = OrderedDict()

    def of(self, files: Files, place: str) -> Kept:
        """A name for the context of a build in `place`, which builds from similar ones have, too."""
        if files.time is not None:
            kept = self._places.get(place)
            if kept is None or len(kept.contexts) >= _MOST_TIMES:
                kept = self._places[place] = Kept()
            self._places.move_to_end(place)
            if len(self._places) > _MOST_PLACES:
                self._places.popitem(last=False)
            if kept.contexts.setdefault(files.time, files.key) == files.key:
                return kept
        return Kept(hashlib.blake2b(files.key.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest())

    def renew(self) -> None:
        """The engine may have lost layers: whatever comes now has the time of its own commit."""
        for kept in self._places.values():
            kept.selections.clear()


def _mark(entries: Sequence[ContextEntry]) -> bytes:
    told = [(entry.path, entry.mode, entry.size, entry.link, entry.content) for entry in entries]
    return hashlib.blake2b(repr(told).encode("utf-8", "surrogatepass"), digest_size=20).digest()
