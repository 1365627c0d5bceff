"""`lumper secret`: values come from files and standard input, and no command prints one."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path

import pytest

from lumper.cli.main import main
from lumper.config.layout import DataFolder
from lumper.line.history import open_history
from lumper.model.builds.secrets import Kind, Needed
from lumper.model.links import Links
from lumper.model.source import Push
from lumper.queue.codec import encode

VALUE = "s3cr3t-of-npm"


class Commands:
    """Runs commands over a data folder that no server serves."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = data
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *words: str, stdin: str = "", status: int = 0) -> str:
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            main([*words, "--data", str(self.data)])
        said = self._capsys.readouterr()
        assert ended.value.code == status, said
        assert VALUE not in said.out + said.err
        return said.out + said.err


@pytest.fixture
def lumper(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands(tmp_path / "data", capsys, monkeypatch)
    commands("project", "add", "https://git.example.org/owner/app.git")
    return commands


async def given(data: Path) -> dict[str, object]:
    """What a build of a tag is given."""
    folder = DataFolder(data)
    history = open_history(folder.database_url, data / "logs", Links("http://l", "l", "l"), encode)
    try:
        async with history.database.write() as connection:
            project = await history.projects.get("owner/app")
            build_id, _ = await history.builds.queue(connection, project, Push("owner/app", "refs/tags/v1", "a" * 40))
        found = await history.secrets.entrusted(build_id, 1, Needed(("npm",), ("default",)))
        return {**found.values, **found.keys, **found.logins}
    finally:
        await history.database.close()


def test_all_kinds_are_set_listed_and_removed(lumper: Commands, tmp_path: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\n"
    (tmp_path / "key").write_text(key)
    assert "nobody is shown it again" in lumper("secret", "set", "owner/app", "npm", stdin=f"{VALUE}\n")
    lumper("secret", "ssh-key", "owner/app", "--file", str(tmp_path / "key"), "--branches", "main,release/**")
    lumper("secret", "login", "docker.io", "--username", "bot", stdin=VALUE)
    assert asyncio.run(given(lumper.data)) == {
        "npm": VALUE.encode(),
        "default": key.encode(),
        "docker.io": ("bot", VALUE),
    }
    listed = json.loads(lumper("secret", "list", "owner/app", "--json"))
    assert [(one["project"], one["kind"], one["name"], one["branches"]) for one in listed] == [
        ("", Kind.LOGIN, "docker.io", ["**"]),
        ("owner/app", Kind.SSH, "default", ["main", "release/**"]),
        ("owner/app", Kind.VALUE, "npm", []),
    ]
    table = lumper("secret", "list")
    assert "tags, main, release/**" in table
    assert "(all)" in table
    lumper("secret", "remove", "owner/app", "npm")
    lumper("secret", "remove", "owner/app", "default", "--kind", "ssh")
    lumper("secret", "logout", "docker.io")
    assert "No secrets yet" in lumper("secret", "list")


def test_what_cannot_be_done_is_told(lumper: Commands, tmp_path: Path) -> None:
    assert "at least one byte" in lumper("secret", "set", "owner/app", "npm", stdin="\n", status=1)
    assert "is not the name" in lumper("secret", "set", "owner/app", "a/b", stdin=VALUE, status=1)
    assert "no project" in lumper("secret", "set", "no/such", "npm", stdin=VALUE, status=1)
    assert "cannot be read" in lumper("secret", "set", "owner/app", "npm", "--file", str(tmp_path / "no"), status=1)
    assert "at most" in lumper("secret", "set", "owner/app", "npm", stdin="x" * 40_000, status=1)
    assert "no secret" in lumper("secret", "remove", "owner/app", "npm", status=1)
    assert "not the HOST" in lumper("secret", "login", "a b", "--username", "x", stdin=VALUE, status=1)
