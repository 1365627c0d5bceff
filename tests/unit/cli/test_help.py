"""`--help` of every command shows how it is used."""

from __future__ import annotations

import contextlib

import pytest

from lumper.cli.main import main
from parts.processes.commands import Command, commands


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command.path)
def test_help_shows_an_example_and_every_argument(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with contextlib.suppress(SystemExit):
        main([*command.path.split()[1:], "--help"])
    text = capsys.readouterr().out
    assert f"Example: {command.example}" in text
    for argument in command.arguments:
        assert argument in text


def test_the_list_of_commands_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for command in commands():
        assert f" {command.path.split()[1]} " in text
