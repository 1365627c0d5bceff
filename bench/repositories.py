"""The repositories that `bench/line.py` builds: for each case a work tree, and its bare twin at the forge."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from lumper.cli.demo.repository import static_busybox

HISTORY = 10_000
_MIB = 1 << 20
_CORPUS = 8 * _MIB

_SMALL = """\
FROM scratch
COPY busybox /bin/busybox
COPY input /input
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox cat /input /input > /output"]
COPY note /note
"""
_STAGES = """\
FROM scratch AS tools
COPY busybox /bin/busybox
FROM tools AS compile
COPY input /input
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox sha512sum /input > /program"]
FROM tools AS test
COPY input /input
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox wc -c /input > /report"]
FROM tools
COPY --from=compile /program /program
COPY --from=test /report /report
COPY note /note
"""
_LARGE = """\
FROM scratch
COPY busybox /bin/busybox
COPY corpus input /
{steps}COPY note /note
"""
_RANDOM = 'RUN ["/bin/busybox", "sh", "-c", "/bin/busybox head -c {size} /dev/urandom > /random"]\n'
_TEXT = (
    'RUN ["/bin/busybox", "sh", "-c", '
    '"for i in $(/bin/busybox seq {times}); do /bin/busybox cat /input /corpus; done > /text"]\n'
)
_BUSY = """\
FROM scratch
COPY busybox /bin/busybox
COPY input /input
RUN ["/bin/busybox", "sh", "-c", "for i in 1 2 3 4 5; do busybox head -c 8000000 /dev/zero | busybox sha1sum; done"]
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox cat /input > /output"]
COPY note /note
"""


@dataclass(frozen=True)
class Case:
    """A kind of repository. `commits` come before the first one that is built."""

    name: str
    dockerfile: str
    corpus: bool = False
    commits: int = 0


def cases(data: str, size: int) -> dict[str, Case]:
    """All cases by name. The large one has `size` MB of `data`: random, text, or half of each (mixed)."""
    share = size // 2 if data == "mixed" else size
    steps = "" if data == "text" else _RANDOM.format(size=share * _MIB)
    steps += "" if data == "random" else _TEXT.format(times=max(1, share * _MIB // _CORPUS))
    found = (
        Case("small", _SMALL),
        Case("multi-stage", _STAGES),
        Case("large", _LARGE.format(steps=steps), corpus=True),
        Case("history", _SMALL, commits=HISTORY),
        Case("busy", _BUSY),
    )
    return {case.name: case for case in found}


class Repository:
    """The work tree of a case and its bare repository in the forge's folder, which may get further names."""

    def __init__(self, case: Case, folder: Path, forge: Path) -> None:
        self.case = case
        self._work = folder / case.name
        self._forge = forge / "bench"
        self._bare = self._forge / f"{case.name}.git"
        self._now = int(time.time())
        self._forge.mkdir(parents=True, exist_ok=True)
        git(folder, "init", "-q", "--bare", str(self._bare))
        git(folder, "init", "-q", "--initial-branch=main", str(self._work))
        if case.commits:
            _import_history(self._work, case.commits)
            git(self._work, "reset", "-q", "--hard", "main")
            git(self._work, "push", "-q", str(self._bare), "main")
        shutil.copy(static_busybox(), self._work / "busybox")
        if case.corpus:
            (self._work / "corpus").write_bytes(_corpus())
        (self._work / "Dockerfile").write_text(case.dockerfile)
        (self._work / ".dockerignore").write_text("unused\n")

    def commit(self, tag: str, state: str) -> str:
        """A new commit with a tag, on top of which there is everything (cold), the last file, or nothing to build.

        It is a minute younger than the one before: nobody pushes two tags in a second, as the bench does.
        """
        self._now += 60
        if state == "cold" or not (self._work / "input").exists():
            (self._work / "input").write_text(uuid.uuid4().hex * 4096)
        if state != "warm" or not (self._work / "note").exists():
            (self._work / "note").write_text(uuid.uuid4().hex)
        (self._work / "unused").write_text(tag)
        git(self._work, "add", "-A")
        git(self._work, "commit", "-q", "-m", tag, at=self._now)
        git(self._work, "tag", tag)
        git(self._work, "push", "-q", str(self._bare), tag)
        return git(self._work, "rev-parse", "HEAD")

    def export(self, folder: Path) -> Path:
        """The files of the newest commit, without git."""
        shutil.copytree(self._work, folder, ignore=shutil.ignore_patterns(".git"))
        return folder

    def named(self, name: str) -> str:
        """The repository under one more name at the forge."""
        link = self._forge / f"{name}.git"
        if not link.exists():
            link.symlink_to(self._bare.name)
        return f"bench/{name}"


def git(folder: Path, *arguments: str, at: int | None = None) -> str:
    """Run git as the bench's own person; commits are of the time `at`, in seconds since 1970."""
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]
    then = {"GIT_AUTHOR_DATE": f"@{at} +0000", "GIT_COMMITTER_DATE": f"@{at} +0000"} if at is not None else {}
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True, env={**os.environ, **then}
    ).stdout.strip()


def _import_history(work: Path, commits: int) -> None:
    lines = []
    for number in range(1, commits + 1):
        body = f"revision {number}\n" * 20
        lines.append(
            f"commit refs/heads/main\ncommitter bench <bench@example.org> {1_600_000_000 + number} +0000\n"
            f"data 5\nmore\n\nM 644 inline src/module{number % 300}/part{number % 7}.txt\ndata {len(body)}\n{body}\n"
        )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=work, input="".join(lines), text=True, check=True)


def _corpus() -> bytes:
    """Text and programs as images have them: Python's own library."""
    folder, data = Path(sysconfig.get_path("stdlib")), bytearray()
    for path in sorted(folder.glob("**/*.py")) + sorted(folder.glob("**/*.so")):
        if len(data) >= _CORPUS:
            break
        data += path.read_bytes()
    while len(data) < _CORPUS:
        data += os.urandom(_MIB)
    return bytes(data[:_CORPUS])
