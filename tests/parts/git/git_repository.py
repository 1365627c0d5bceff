"""Git repositories to test with, made by the real git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "LC_ALL": "C",
    "GIT_AUTHOR_NAME": "Ada Lovelace",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0100",
    "GIT_COMMITTER_NAME": "Bob",
    "GIT_COMMITTER_EMAIL": "bob@example.org",
    "GIT_COMMITTER_DATE": "1700000100 +0000",
}


class Repository:
    """A bare repository. Commits are made from trees of values; there is no work tree."""

    def __init__(self, path: Path, *, object_format: str = "sha1") -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "--bare", f"--object-format={object_format}", "--initial-branch=main")

    def git(self, *arguments: str, data: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """What git prints."""
        done = subprocess.run(
            ["git", f"--git-dir={self.path}", *arguments],
            input=data,
            capture_output=True,
            check=True,
            env=ENVIRONMENT | dict(environment or {}),
        )
        return done.stdout.decode().strip()

    def commit(
        self,
        files: Mapping[str, bytes | str],
        *,
        links: Mapping[str, str] | None = None,
        executables: tuple[str, ...] = (),
        submodules: Mapping[str, str] | None = None,
        message: str = "A commit",
        parent: str = "",
    ) -> str:
        """Make a commit with exactly these files; its id. Bytes that are not UTF-8 are surrogates in names."""
        index = {"GIT_INDEX_FILE": str(self.path / "index.test")}
        lines = [b"100755" if name in executables else b"100644" for name in files]
        entries = [
            mode + b" " + self.blob(content).encode() + b"\t" + _bytes(name)
            for mode, (name, content) in zip(lines, files.items(), strict=True)
        ]
        entries += [b"120000 " + self.blob(to).encode() + b"\t" + _bytes(name) for name, to in (links or {}).items()]
        entries += [b"160000 " + to.encode() + b"\t" + _bytes(name) for name, to in (submodules or {}).items()]
        (self.path / "index.test").unlink(missing_ok=True)
        self.git("update-index", "-z", "--index-info", data=b"".join(e + b"\0" for e in entries), environment=index)
        tree = self.git("write-tree", "--missing-ok", environment=index)
        parents = ("-p", parent) if parent else ()
        commit = self.git("commit-tree", *parents, "-m", message, tree)
        self.git("update-ref", "refs/heads/main", commit)
        return commit

    def blob(self, content: bytes | str) -> str:
        """Store a file's content; its id."""
        return self.git("hash-object", "-w", "--stdin", data=_bytes(content))

    def tag(self, name: str, commit: str, *, annotated: bool = False) -> str:
        """Make or move a tag; the id that the ref has (of the tag object, for an annotated one)."""
        self.git("tag", "--force", *(("--annotate", "-m", name) if annotated else ()), name, commit)
        self.git("update-server-info")
        return self.git("rev-parse", f"refs/tags/{name}")


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
