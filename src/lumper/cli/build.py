"""`lumper build`: the recipe of a repository here, without a server."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from cyclopts import App

from lumper.build.checkout import Mirrors
from lumper.build.local import Here, build_here
from lumper.cli.output import plain, show_json, warn
from lumper.config import Config, load
from lumper.errors import Invalid
from lumper.model.build import Progress
from lumper.model.log import render

app = App(name="build", help="Build the commit that is checked out here, without a server; verify builds.")
app.command("lumper.cli.verify:verify", name="verify", help="See whether a build gives the same image once more.")


@app.default
def build(folder: Path = Path(), /, *names: str, json: bool = False, config: Path | None = None) -> None:
    """Build the commit that is checked out here by its lumper.toml, without a server; the engine keeps the image.

    Files that are not committed are not in it. The image is named after the folder, with the first of the tags that it
    would get in the registry. Status 1 if something fails.

    Example: lumper build .

    Parameters
    ----------
    folder
        A folder of the repository.
    names
        Which of its images, where lumper.toml has several; all of them if none is named.
    json
        Print the names of the images as JSON at the end; the log goes to standard error in any case.
    config
        The TOML file whose [worker] engine is used.
    """
    images = asyncio.run(_build(here(folder), names, load(config)))
    if json:
        show_json(images)
    else:
        for image in images:
            print(f"{image} is built; `docker run --rm {image}` runs it.")


async def _build(work_tree: Here, names: tuple[str, ...], config: Config) -> list[str]:
    from lumper.wiring.adapters import open_engine  # slow to import

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    engine = open_engine(config)
    try:
        return await build_here(work_tree, Mirrors(cache / "lumper" / "mirrors"), engine, _teller(), names)
    finally:
        await engine.close()


def _teller() -> Callable[[Progress], None]:
    """Tells each record of progress as a line, as the log of a build has it."""
    steps: dict[int, str] = {}

    def tell(record: Progress) -> None:
        for line in render([record], steps):
            warn(plain(line))

    return tell


def here(folder: Path) -> Here:
    """What is checked out in a folder. Raises Invalid."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    commit = _git(folder, "rev-parse", "--verify", "HEAD") if root else ""
    if not commit:
        hint = "`git init`, `git add` and `git commit` make one; uncommitted files are not built."
        raise Invalid(f"There is no commit to build in {folder.resolve()}.", hint=hint)
    tag = _git(
        folder, "for-each-ref", "--points-at=HEAD", "--sort=-version:refname", "--format=%(refname)", "refs/tags"
    )
    ref = tag.partition("\n")[0] or _git(folder, "symbolic-ref", "--quiet", "HEAD")
    if not ref:
        raise Invalid("No branch and no tag is checked out, only a commit.", hint="`git switch -c NAME` names it.")
    return Here(Path(root), ref, commit, _git(folder, "config", "--get", "remote.origin.url"))


def _git(folder: Path, *arguments: str) -> str:
    """What git says, "" if it refuses."""
    try:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 (no shell, words of our own)
    except FileNotFoundError as exc:
        raise Invalid("There is no program `git`.", hint="Install git.") from exc
    return os.fsdecode(done.stdout).strip() if done.returncode == 0 else ""
