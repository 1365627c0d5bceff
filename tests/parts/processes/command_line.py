"""`lumper` as a person types it: a process of its own, with what it printed and its status."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

from parts.processes.forked_lumper import environment, start


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, which must be JSON, and all went well."""
        assert (self.status, self.err) == (0, ""), self
        return json.loads(self.out)

    @property
    def trouble(self) -> str:
        """What it said on standard error: a sentence and what to do next, and nothing else anywhere."""
        assert (self.status, self.out) == (1, ""), self
        first, *rest = self.err.splitlines()
        assert first.startswith("lumper: "), self
        assert rest, f"there is no hint: {self.err}"
        assert "Traceback" not in self.err
        return self.err


def lumper(*arguments: object, settings: dict[str, str] | None = None, given: str = "", seconds: float = 60) -> Ran:
    """Run a command with these arguments, environment variables and standard input."""
    with TemporaryFile() as stdin, TemporaryFile() as out, TemporaryFile() as err:
        stdin.write(given.encode())
        stdin.seek(0)
        process = start([*map(str, arguments)], environment(settings), given=stdin, out=out, err=err)
        try:
            status = process.wait(seconds)
        except BaseException:
            process.kill()
            process.wait()
            raise
        for each in (out, err):
            each.seek(0)
        return Ran(status, out.read().decode(), err.read().decode())


def start_lumper(*arguments: object, settings: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """A command that goes on while the test does; its output is read line by line."""
    return subprocess.Popen(
        [sys.executable, "-m", "lumper", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(settings),
    )
