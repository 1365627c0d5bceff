"""The page of commands tells every command, with its example and everything that can be typed behind it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from lumper.cli.client import Target
from lumper.forges.all import NAMES
from parts.processes.commands import Command, commands

PAGE = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text("utf-8")
COMMANDS = list(commands())


def section(title: str) -> str:
    """The text under a heading."""
    assert f"## {title}\n" in PAGE, f"the page has no heading {title}"
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.path)
def test_a_command_has_a_section_with_its_example_and_its_arguments(command: Command) -> None:
    text = section(f"`{command.path}`")
    assert f"```\n{command.example}\n```" in text
    rows = re.findall(r"(?m)^\| `([^`]+)` \| (.+) \|$", text)
    meanings = [meaning.replace(NAMES, "one of [these forges](../how-to/forges.md)") for meaning in command.meanings]
    assert rows == list(zip(command.arguments, meanings, strict=True))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.path)
def test_a_command_explains_itself(command: Command) -> None:
    words = re.sub(r"^(\w+=\S+ )+", "", command.example)
    assert words.startswith(command.path), "the docstring has no line `Example: lumper …` for this command"
    assert all(meaning.strip() == meaning != "" for meaning in command.meanings), "an argument is not explained"


def test_there_is_no_section_for_a_command_that_does_not_exist() -> None:
    assert re.findall(r"(?m)^## `([^`]+)`$", PAGE) == [command.path for command in COMMANDS]


def test_the_ways_to_name_a_server_are_told_once() -> None:
    text = section("Which server")
    for field in fields(Target):
        assert f"| `--{field.name.replace('_', '-')} " in text
