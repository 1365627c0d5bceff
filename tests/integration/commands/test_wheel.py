"""The wheel has everything that runs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel that was built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    command += ["--disable-pip-version-check", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=120)
    [file] = folder.glob("lumper-*.whl")
    with ZipFile(file) as archive:
        return set(archive.namelist())


def test_every_file_of_the_package_is_in_the_wheel(wheel: set[str]) -> None:
    package = ROOT / "src/lumper"
    found = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = {str(path.relative_to(ROOT / "src")) for path in found}
    assert len(files) > 100
    assert files - wheel == set()
    assert {name for name in wheel if not name.startswith("lumper-")} - files == set()


@pytest.mark.parametrize("kind", [".html", ".css", ".js", ".woff2", ".j2", ".toml", "py.typed", "migrations/env.py"])
def test_what_is_no_module_is_there_too(wheel: set[str], kind: str) -> None:
    assert any(name.endswith(kind) for name in wheel)


def test_the_command_is_installed(wheel: set[str]) -> None:
    assert any(name.endswith("entry_points.txt") for name in wheel)


@pytest.mark.parametrize("tag", ["v0.1.0", "v2.0.0"])
def test_the_version_comes_from_the_tag(tmp_path: Path, tag: str) -> None:
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    assert _version(tmp_path) == "0.1.dev0"  # without git
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "First"], ["tag", tag]):
        subprocess.run(["git", *who, *command], cwd=tmp_path, check=True)
    assert _version(tmp_path) == tag.removeprefix("v")


def _version(folder: Path) -> str:
    command = [sys.executable, "-m", "hatchling", "version"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
