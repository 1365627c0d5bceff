"""What is checked out in a folder, by the program git: its commit, or a commit of its files as they lie there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from lumper.build.local import Here
from lumper.build.source.lending import Lenders
from lumper.errors import Invalid

_WHO = {f"GIT_{role}_{what}": "lumper" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def here(folder: Path) -> Here:
    """What is checked out in a folder. Raises Invalid."""
    if not folder.is_dir():
        raise Invalid(f"There is no folder {folder}.", hint="Name the folder of a git repository.")
    root = _git(folder, "rev-parse", "--show-toplevel")
    commit = _git(folder, "rev-parse", "--verify", "HEAD") if root else ""
    if not commit:
        hint = "`git init`, `git add` and `git commit` make one."
        raise Invalid(f"There is no commit to build in {folder.resolve()}.", hint=hint)
    tag = _git(
        folder, "for-each-ref", "--points-at=HEAD", "--sort=-version:refname", "--format=%(refname)", "refs/tags"
    )
    branch = _git(folder, "symbolic-ref", "--quiet", "HEAD") or f"refs/heads/sha-{commit[:12]}"  # only a commit
    ref = tag.partition("\n")[0] or branch
    origin = _git(folder, "config", "--get", "remote.origin.url")
    return Here(Path(root), ref, commit, origin, lend=partial(_lend, Path(root).resolve()))


def _lend(root: Path, place: str) -> tuple[Path, ...]:
    """Git's folder of the repository itself, or of the submodule that is checked out at a path in it."""
    folder = root / place
    if not folder.resolve().is_relative_to(root) or not (folder / ".git").exists():
        return ()
    found = _git(folder, "rev-parse", "--path-format=absolute", "--git-common-dir")
    return (Path(found),) if found else ()


@contextlib.contextmanager
def with_changes(committed: Here) -> Iterator[Here]:
    """The work tree with its files as they lie there, but for those that git ignores; itself if nothing was changed.

    The commit is made in a repository beside, which borrows the objects of this one: nothing is written here, neither
    to the index nor to the objects. It has the time of the last commit, so that the same files give the same image.
    Raises Invalid.
    """
    root = committed.root
    objects = Path(_git(root, "rev-parse", "--path-format=absolute", "--git-path", "objects"))
    ignored = _git(root, "rev-parse", "--path-format=absolute", "--git-path", "info/exclude")
    when = _git(root, "log", "-1", "--format=%ct %cd", "--date=format:+0000", committed.commit)
    with tempfile.TemporaryDirectory(prefix="lumper-changes-") as folder:
        beside = Path(folder) / "changes.git"
        _must(Path(folder), {}, "init", "--quiet", "--bare", str(beside))
        (beside / "objects" / "info" / "alternates").write_text(f"{objects}\n")
        if Path(ignored).is_file():
            (beside / "info" / "exclude").write_bytes(Path(ignored).read_bytes())
        where = {"GIT_DIR": str(beside), "GIT_WORK_TREE": str(root), **_WHO}
        times = {"GIT_AUTHOR_DATE": f"@{when}", "GIT_COMMITTER_DATE": f"@{when}"}
        _must(root, where, "read-tree", committed.commit)
        _must(root, where, "add", "--all", "--", ".")
        tree = _must(root, where, "write-tree")
        if tree == _must(root, where, "rev-parse", f"{committed.commit}^{{tree}}"):
            yield committed
            return
        message = ("-m", "what was not committed")
        commit = _must(root, where | times, "commit-tree", tree, "-p", committed.commit, *message)
        _must(root, where, "update-ref", committed.ref, commit)
        lend = partial(_lend_changes, beside, committed.lend)
        yield replace(committed, commit=commit, changes=beside, head=committed.commit, lend=lend)


def _lend_changes(beside: Path, lend: Lenders, place: str) -> tuple[Path, ...]:
    """Likewise; files of Git LFS that were changed are where their commit is."""
    return (*lend(place), *(() if place else (beside,)))


def _git(folder: Path, *arguments: str) -> str:
    """What git says, "" if it refuses."""
    done = _run(folder, {}, arguments)
    return os.fsdecode(done.stdout).strip() if done.returncode == 0 else ""


def _must(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    """What git says. Raises Invalid if it refuses."""
    done = _run(folder, environment, arguments)
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise Invalid(f"The files in {folder} cannot be read by git: {words}.", hint="`git status` may tell why.")
    return os.fsdecode(done.stdout).strip()


def _run(folder: Path, environment: dict[str, str], arguments: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
    try:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(  # noqa: S603 (no shell, words of our own)
            command, capture_output=True, check=False, env={**os.environ, **environment}
        )
    except FileNotFoundError as exc:
        raise Invalid("There is no program `git`.", hint="Install git.") from exc
