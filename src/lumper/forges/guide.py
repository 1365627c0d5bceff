"""Guides for people: set up a webhook at a forge, or a hook in a plain git repository."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Guide:
    """The way to a forge's webhook page. `fields` are those of its form, with what to enter; {hook} is the address.

    `proof` is how a delivery proves its origin, `event` the one that announces a tag, `scopes` what a token of the
    forge must be allowed.
    """

    title: str
    way: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]
    press: str
    note: str = ""
    proof: str = ""
    event: str = ""
    scopes: str = ""

    def steps(self, hook: str) -> list[str]:
        """The steps as sentences, with the address to deliver to."""
        entered = [f"{field}: {value.format(hook=hook)}" for field, value in self.fields]
        steps = [f"Open the repository, then {' → '.join(self.way)}.", *entered, f"Press {self.press}."]
        return [*steps, self.note] if self.note else steps


def post_receive(project: str, command: Sequence[str] = ("lumper",)) -> str:
    """The hook of a git repository without a forge, which starts a build of every tag that was not removed."""
    return f"""#!/bin/sh
while read -r old new ref; do
  case "$ref" in refs/tags/*)
    git rev-parse -q --verify "$ref" > /dev/null && {shlex.join(command)} start {shlex.quote(project)} "$ref" ;;
  esac
done
"""
