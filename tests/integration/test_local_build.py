"""`lumper build`: a real engine, a real work tree, no server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumper.cli.main import main
from parts.context import BASE, BUSYBOX
from parts.docker_engine import engine

RECIPE = '[image.one]\ntags = ["raw:mine"]\n[image.two]\nimage = ""\n[image.broken]\ndockerfile = "gone"\n'


def git(folder: Path, *arguments: str) -> None:
    """Run git as somebody."""
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def commit(folder: Path, recipe: str = "") -> None:
    """Make a repository of the folder, with a Dockerfile."""
    (folder / "Dockerfile").write_text(f"{BASE}COPY said /said\nRUN cat /said\n")
    (folder / "busybox").write_bytes(BUSYBOX.read_bytes())
    (folder / "busybox").chmod(0o755)
    (folder / "said").write_text(f"from the commit {uuid.uuid4()}\n")  # or the engine has it from an earlier run
    (folder / "lumper.toml").write_text(recipe)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / f"local-{tmp_path.name.replace('_', '-')[:60].strip('-')}"
    root.mkdir()
    yield root
    asyncio.run(forget(root.name))


async def forget(name: str) -> None:
    """Remove the images that the test has made."""
    async with engine() as docker:
        for image in await docker.images.list():
            for tag in image.get("RepoTags") or ():
                if tag.startswith((f"{name}:", f"{name}/")):
                    await docker.images.delete(tag, force=True)


async def labels(image: str) -> dict[str, str]:
    """The labels of an image as the engine has it."""
    async with engine() as docker:
        found: dict[str, str] = (await docker.images.inspect(image))["Config"]["Labels"]
        return found


def build(*arguments: str) -> int:
    """The exit status of `lumper build`."""
    try:
        main(["build", *arguments])
    except SystemExit as exc:
        return int(exc.code or 0)
    return 0


def test_the_commit_is_built_and_not_what_lies_about(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(folder)
    git(folder, "tag", "v1.2.3")
    (folder / "said").write_text("not committed\n")
    assert build(str(folder)) == 0
    said = capsys.readouterr()
    assert f"{folder.name}:1.2.3 is built" in said.out
    assert "from the commit" in said.err
    assert "not committed" not in said.err
    assert asyncio.run(labels(f"{folder.name}:1.2.3"))["org.opencontainers.image.version"] == "1.2.3"


def test_the_images_that_are_named_are_built(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(folder, RECIPE)
    assert build(str(folder), "one", "two", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [f"{folder.name}/one:mine", f"{folder.name}:main"]
    assert build(str(folder), "three") == 1
    assert "It has: one, two, broken." in capsys.readouterr().err
    assert build(str(folder), "broken") == 1


def test_without_a_commit_there_is_nothing_to_build(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(str(folder)) == 1
    git(folder, "init", "-q")
    assert build(str(folder)) == 1
    assert "There is no commit to build" in capsys.readouterr().err
