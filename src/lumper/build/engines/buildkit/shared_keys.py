"""Under which names an engine keeps contexts whose files it gets one by one.

Of what it has under a name, an engine takes those files for unchanged whose size, time and mode are the same. All files
of a commit have its time. So commits of different times can share a name: each time all files are sent, but into the
folder that is there. To make a new one takes an engine some 20 ms, and space on its disk. Commits of one second cannot.
Source: moby/buildkit, source/local; tonistiigi/fsutil, diff.go.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from lumper.build.port import Files

_MOST_PLACES = 10_000
_MOST_TIMES = 1000


@dataclass
class _Shared:
    """What is kept under one name: by the times of commits, which context it was."""

    name: str = field(default_factory=lambda: secrets.token_hex(20))
    contexts: dict[int, str] = field(default_factory=dict)


class SharedKeys:
    """The names that this process gives to contexts; no other process gives the same."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, _Shared] = OrderedDict()

    def of(self, files: Files, place: str) -> str:
        """A name for the context of a build in `place`, which builds from similar ones have, too."""
        if files.time is not None:
            shared = self._places.get(place)
            if shared is None or len(shared.contexts) >= _MOST_TIMES:
                shared = self._places[place] = _Shared()
            self._places.move_to_end(place)
            if len(self._places) > _MOST_PLACES:
                self._places.popitem(last=False)
            if shared.contexts.setdefault(files.time, files.key) == files.key:
                return shared.name
        return hashlib.blake2b(files.key.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()
