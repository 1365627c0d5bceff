"""A RUN step that waits until the test lets it go on, so that a test knows what a build is at and for how long.

The step looks for a file in its own root folder, and root reaches that by way of /proc. Where a test may not do so, the
step goes on by itself after some seconds: slower, but no different.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from parts.suite.waiting import wait_for

_PATIENCE = 10 if os.geteuid() else 600  # seconds
SAYS = "somebody waits at the gate"
"""What the step prints when it has come to the gate. Its name does not have these words in it."""

_LOOKS = _PATIENCE * 20


class Gate:
    """One gate. `dockerfile` has the step that waits at it."""

    def __init__(self) -> None:
        self._file = f"open-{secrets.token_hex(8)}"

    @property
    def step(self) -> str:
        """A line for a Dockerfile whose image has /bin/busybox."""
        look = f"[ $i -lt {_LOOKS} ] && ! [ -e /{self._file} ]"
        wait = f"i=0; while {look}; do i=$((i+1)); /bin/busybox sleep 0.05; done; /bin/busybox rm -f /{self._file}"
        words = SAYS.replace("waits", "wai''ts")
        return f"RUN {json.dumps(['/bin/busybox', 'sh', '-c', f'echo {words}; {wait}; echo the gate is open'])}\n"

    @property
    def dockerfile(self) -> str:
        """A page server whose build waits at the gate."""
        base = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY index.html /www/\n"
        return f'{base}{self.step}CMD ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]\n'

    @property
    def somebody_waits(self) -> bool:
        """Whether the program of a step that waits here runs on this machine."""
        return bool(self.waiting())

    def let_through(self, *, but: Collection[Path] = ()) -> None:
        """Wait until somebody waits here, other than those who are meant to end here, and let them through."""
        for process in wait_for(lambda: set(self.waiting()) - set(but), "program that waits at the gate"):
            with suppress(OSError):
                (process / "root" / self._file).touch()

    def wait_until_nobody_waits(self) -> None:
        """Wait until the engine has ended the program of a step that nobody wants any more."""
        wait_for(lambda: not self.somebody_waits, "end of the program at the gate", min(60, _PATIENCE / 2))

    def waiting(self) -> list[Path]:
        """The folders in /proc of the programs of steps that wait here."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it ended while we looked
                if f"-e /{self._file} ]".encode() in path.read_bytes():
                    found.append(path.parent)
        return found
