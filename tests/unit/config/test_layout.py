"""The data folder: where it is, who holds it, and how a command finds the server that does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lumper.config.layout import DataFolder, find_data
from lumper.config.settings import load
from lumper.errors import ConfigError, Conflict, StorageError

# What it needs is imported before: another user may not be allowed to read it.
_PREPARE = """
import os, sys
from pathlib import Path
from lumper.errors import StorageError
from lumper.config.layout import DataFolder

os.setgroups([])
os.setuid(65534)
try:
    DataFolder(Path(sys.argv[1])).prepare()
except StorageError as exc:
    print(exc.message, exc.hint, sep="\\n")
"""


def write(folder: Path, text: str) -> dict[str, str]:
    (folder / "lumper.toml").write_text(text)
    return {"LUMPER_CONFIG": str(folder / "lumper.toml")}


@pytest.mark.parametrize(
    "text", ['data = "/srv/lumper"\n', '[server]\nlisten = "127.0.0.1:1"\n', "", 'data = "relative/path"\n']
)
@pytest.mark.parametrize("more", [{}, {"LUMPER_DATA": "/elsewhere"}])
def test_the_quick_way_finds_the_folder_that_the_configuration_names(
    tmp_path: Path, text: str, more: dict[str, str]
) -> None:
    environment = write(tmp_path, text) | more
    assert find_data(environment) == load(environment=environment).data


def test_without_any_configuration_both_ways_agree() -> None:
    assert find_data({}) == load(environment={}).data


@pytest.mark.parametrize("text", ["data = \n", "data = 7\n", "\xff"])
def test_the_quick_way_leaves_what_is_wrong_to_the_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "lumper.toml").write_bytes(text.encode("latin-1"))
    environment = {"LUMPER_CONFIG": str(tmp_path / "lumper.toml")}
    assert find_data(environment) is None
    with pytest.raises(ConfigError):
        load(environment=environment)


def test_the_quick_way_leaves_a_file_that_is_not_there_to_the_configuration(tmp_path: Path) -> None:
    environment = {"LUMPER_CONFIG": str(tmp_path / "nothing.toml")}
    assert find_data(environment) is None
    with pytest.raises(ConfigError, match="no such file"):
        load(environment=environment)


def test_the_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "a" / "data")
    folder.prepare()
    folder.prepare()
    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.root.iterdir()} == {0o700}


def test_a_folder_that_cannot_be_made_is_told_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made") as raised:
        DataFolder(tmp_path / "file" / "data").prepare()
    assert "--data DIR" in raised.value.hint


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can be another user")
def test_the_folder_of_somebody_else_is_told_as_that() -> None:
    with tempfile.TemporaryDirectory(prefix="lumper-of-root") as place:
        Path(place).chmod(0o711)
        folder = DataFolder(Path(place) / "data")
        folder.prepare()
        command = [sys.executable, "-c", _PREPARE, str(folder.root)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"The data folder {folder.root} is not yours: root may use it.",
        "Type `sudo -u root lumper …`, or sign in with LUMPER_SERVER and LUMPER_TOKEN_FILE.",
    ]


def test_one_server_holds_the_folder_and_is_found(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert folder.server_url() == ""
    with folder.lock(), folder.announced("http://127.0.0.1:1"):
        assert folder.server_url() == "http://127.0.0.1:1"
        with pytest.raises(Conflict, match="runs already"), DataFolder(tmp_path).lock():
            pass
        assert folder.server_url() == "http://127.0.0.1:1"
    assert folder.server_url() == ""
    with folder.lock():
        pass


def test_a_server_that_was_killed_is_not_found_even_if_another_program_has_its_id(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    (tmp_path / "lock").touch()
    (tmp_path / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": os.getpid()}))
    assert folder.server_url() == ""


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"url": 1}', '{"url": "x", "pid": "y"}', '{"pid": 0}'])
def test_a_broken_note_of_a_server_is_no_server(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    (tmp_path / "lock").touch()
    assert DataFolder(tmp_path).server_url() == ""
