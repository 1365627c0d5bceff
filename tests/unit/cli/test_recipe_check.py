"""`lumper recipe check`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lumper.cli.main import main


def check(folder: Path, *options: str) -> int:
    """The exit status of a check."""
    try:
        main(["recipe", "check", str(folder), *options])
    except SystemExit as exc:
        return int(exc.code or 0)
    return 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path


def test_a_right_recipe_is_said_to_be_right(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "lumper.toml").write_text('[build]\ntags = ["semver:{{version}}"]\n')
    assert check(folder) == 0
    assert capsys.readouterr().out == "lumper.toml is right.\n"


def test_without_a_file_the_dockerfile_at_the_root_is_what_counts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(folder) == 0
    assert capsys.readouterr().out == "There is no lumper.toml: the Dockerfile at the root is built.\n"
    (folder / "Dockerfile").unlink()
    assert check(folder) == 1


def test_all_errors_are_told_with_their_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "lumper.toml").write_text(
        '[build]\ntags = [\n  "semver:{{versio}}",\n  { template = "raw:x", branch = [] },\n]\n'
    )
    assert check(folder) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in said] == ["line 3", "line 4"]
    assert "did you mean `branches`?" in said[1]


def test_programs_get_json_and_the_same_status(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "lumper.toml").write_text('[build]\ndockerfile = "docker/Dockerfile"\n')
    assert check(folder, "--json") == 1
    (problem,) = json.loads(capsys.readouterr().out)
    assert problem["where"] == "build"
    (folder / "lumper.toml").write_text("")
    assert check(folder, "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("content", [b"\xff", b"#" * 70_000, b"[" * 5000])
def test_hostile_files_are_problems_not_tracebacks(folder: Path, content: bytes) -> None:
    (folder / "lumper.toml").write_bytes(content)
    assert check(folder) == 1
