"""The script of `lumper completion bash` completes commands, options and values in a real bash."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lumper.cli.main import main

_ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_lumper
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command prints, in a file."""
    file = tmp_path_factory.mktemp("completion") / "lumper"
    with pytest.MonkeyPatch.context() as patch, file.open("w") as out:
        patch.setattr("sys.stdout", out)
        with pytest.raises(SystemExit) as ended:
            main(["completion", "bash"])
        assert not ended.value.code
    return file


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["regi"], ["registry"]),
        (["registry", "rules", "s"], ["set"]),
        (["registry", "rules", "set", "--im"], ["--immutable"]),
        (["registry", "--anonymous", ""], ["none", "pull", "push"]),
        (["log", "7", "--fo"], ["--follow"]),
        (["completion", "f"], ["fish"]),
    ],
)
def test_bash_completes_what_was_typed(script: Path, typed: list[str], offered: list[str]) -> None:
    words = ["bash", "-c", _ASK, "bash", str(script), "lumper", *typed]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.split() == offered
